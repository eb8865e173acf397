from __future__ import annotations

from collections import Counter

from esper_leyline import RELEVANT_HEADS, Blueprint, FactoredAction, Op
from esper_leyline.ports import ExplainingController
from esper_tamiyo import (
    HeuristicController,
    RandomMaskedController,
    ScheduleController,
    StaticController,
)


def test_static_always_waits(specs, rich):
    controller = StaticController()
    controller.reset(3)
    assert controller.decide(rich(specs())) == FactoredAction()


def test_random_is_uniform_over_ops_and_then_over_choices(specs, rich, seeded):
    spec = specs(blueprints=(Blueprint.NORM, Blueprint.CONV_LIGHT))
    report = seeded(rich(spec), 0, permitted=(Op.GERMINATE,))
    report = seeded(report, 1, permitted=())
    report = seeded(report, 2, permitted=(Op.GERMINATE, Op.PRUNE))
    controller = RandomMaskedController(spec)
    controller.reset(0)
    actions = [controller.decide(report) for _ in range(3000)]
    ops = Counter(action.op for action in actions)
    assert set(ops) == {Op.WAIT, Op.GERMINATE, Op.PRUNE}
    assert all(850 < count < 1150 for count in ops.values())
    born = [action for action in actions if action.op is Op.GERMINATE]
    for name, allowed in (("slot", {0, 2}), ("blueprint", set(spec.blueprints))):
        drawn = Counter(getattr(action, name) for action in born)
        assert set(drawn) == allowed
        assert max(drawn.values()) < 0.6 * len(born)
    assert {action.tempo for action in born} == {0, 1, 2}
    assert {action.style for action in born} == set(spec.styles)


def test_random_leaves_irrelevant_heads_canonical(specs, rich):
    spec = specs()
    controller = RandomMaskedController(spec)
    for _ in range(200):
        action = controller.decide(rich(spec))
        assert action == action.canonical()
        assert action.op in RELEVANT_HEADS


def test_random_follows_its_seed(specs, rich):
    spec = specs()
    controller, report = RandomMaskedController(spec), rich(spec)

    def draw(seed):
        controller.reset(seed)
        return [controller.decide(report) for _ in range(20)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_controllers_by_rule_say_why_they_decided(specs):
    spec = specs()
    for controller in (
        StaticController(),
        RandomMaskedController(spec),
        HeuristicController(spec),
        ScheduleController(spec),
    ):
        assert isinstance(controller, ExplainingController)
        assert controller.reason
