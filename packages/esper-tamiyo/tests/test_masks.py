from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from esper_leyline import (
    BUILT_IN_BLUEPRINTS,
    HEADS,
    AlphaMode,
    BlendStyle,
    Blueprint,
    EpisodeEnd,
    FactoredAction,
    LifecycleRules,
    Op,
    SeedStage,
    Topology,
    advance,
    head_sizes,
)
from esper_leyline.commands import to_command
from esper_leyline.masks import valid_slots
from esper_tamiyo import MaskBuilder, RandomMaskedController

RULES = {
    "permissive": LifecycleRules(),
    "automatic": LifecycleRules(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True),
    "strict": LifecycleRules(
        permissive_gates=False, g2_min_epochs=2, g3_min_epochs=4, min_prune_age=1
    ),
}


@pytest.mark.parametrize(
    ("name", "enough"), [("permissive", 10_000), ("automatic", 5_000), ("strict", 5_000)]
)
def test_actions_of_the_random_controller_are_never_rejected(specs, gardens, name, enough):
    spec = specs(max_epochs=100)
    controller = RandomMaskedController(spec)
    used: Counter[Op] = Counter()
    slot_steps, episode = 0, 0
    while slot_steps < enough:
        garden = gardens(spec, rules=RULES[name])
        controller.reset(episode)
        report = garden.report()
        while report.ended is None:
            action = controller.decide(report)
            used[action.op] += 1
            report = garden.step(action)
            assert report.action_succeeded, (action, garden.transitions[-1].rejection)
            slot_steps += len(spec.slots)
        episode += 1
    assert set(used) == set(Op)


def test_masks_are_what_the_lifecycle_accepts(specs, gardens):
    spec = specs(max_epochs=60, topology=Topology.TRANSFORMER)
    controller, builder = RandomMaskedController(spec), MaskBuilder(spec)
    rules = LifecycleRules(auto_forward_g2=True, auto_forward_g3=True)
    seen = set()
    for episode in range(10):
        garden = gardens(spec, rules=rules)
        controller.reset(episode)
        report = garden.report()
        while report.ended is None:
            masks = builder.build([report])
            for op in list(Op)[1:]:
                accepted = [_accepts(garden, op, slot) for slot in range(3)]
                assert bool(masks["op"][0, op]) == any(accepted)
                if any(accepted):
                    assert masks["slot"][0, op].tolist() == accepted
            seen.update(state.stage for state in garden.states)
            report = garden.step(controller.decide(report))
    assert seen == set(SeedStage) - {SeedStage.UNKNOWN}


def _accepts(garden, op, slot):
    action = FactoredAction(op=op, slot=slot, blueprint=Blueprint.LORA)
    command = to_command(action, garden.spec.slots)
    evidence = garden.evidence(slot)
    return advance(
        garden.states[slot], command.command, evidence=evidence, rules=garden.rules
    ).accepted


def test_a_network_that_samples_under_the_masks_is_never_refused(specs, gardens, policies, rolled):
    spec = specs(max_epochs=1000)
    beds = [gardens(spec, environment=index) for index in range(8)]
    ops = set()
    for _, _, decision in rolled(policies(spec, 8), beds, 150, torch.Generator().manual_seed(1)):
        ops.update(decision.actions[:, 0].tolist())
    assert all(t.accepted for bed in beds for t in bed.transitions)
    assert ops == set(Op)


def test_shapes_and_types(specs, rich):
    spec = specs(2)
    masks = MaskBuilder(spec).build([rich(spec), rich(spec, 1)])
    assert set(masks) == set(HEADS)
    sizes = head_sizes(2)
    for name, mask in masks.items():
        shape = (2, len(Op), 2) if name == "slot" else (2, sizes[name])
        assert mask.shape == shape
        assert mask.dtype == torch.bool


def test_the_task_decides_blueprints_and_styles(specs, rich):
    blueprints = (Blueprint.NORM, Blueprint.CONV_LIGHT)
    spec = specs(blueprints=blueprints, styles=(BlendStyle.GATED_GATE,))
    masks = MaskBuilder(spec).build([rich(spec)])
    allowed = masks["blueprint"][0].nonzero().flatten().tolist()
    assert {BUILT_IN_BLUEPRINTS[index] for index in allowed} == set(blueprints)
    assert masks["style"][0].nonzero().flatten().tolist() == [BlendStyle.GATED_GATE]
    assert not masks["blueprint"][0, BUILT_IN_BLUEPRINTS.index("noop")]
    for name in ("tempo", "alpha_target", "alpha_speed", "alpha_curve"):
        assert masks[name].all()


def test_slots_depend_on_the_op(specs, rich, seeded):
    spec = specs()
    report = seeded(rich(spec), 0, permitted=(Op.GERMINATE,))
    report = seeded(report, 1, permitted=())
    report = seeded(report, 2, permitted=(Op.GERMINATE, Op.PRUNE))
    assert valid_slots(report) == {Op.WAIT: (0,), Op.GERMINATE: (0, 2), Op.PRUNE: (2,)}
    masks = MaskBuilder(spec).build([report])
    assert masks["op"][0].nonzero().flatten().tolist() == [Op.WAIT, Op.GERMINATE, Op.PRUNE]
    assert masks["slot"][0].tolist() == [
        [True, False, False],
        [True, False, True],
        [True, False, False],
        [False, False, True],
        [True, False, False],
        [True, False, False],
    ]


@pytest.mark.parametrize("end", EpisodeEnd)
def test_a_finished_episode_leaves_only_waiting(specs, rich, end):
    spec = specs()
    report = replace(rich(spec), ended=end)
    assert valid_slots(report) == {Op.WAIT: (0,)}
    masks = MaskBuilder(spec).build([rich(spec), report])
    assert masks["op"][1].tolist() == [True, *[False] * 5]
    assert masks["op"][0].sum() > 1


def test_alpha_modes_close_the_ops_that_they_exclude(specs, gardens):
    garden = gardens(specs())
    garden.step(FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.NORM, alpha_target=2))
    garden.step(FactoredAction(op=Op.ADVANCE, slot=1))
    report = garden.step(FactoredAction(op=Op.ADVANCE, slot=1))
    assert report.seeds[1].alpha_mode is AlphaMode.UP
    assert Op.SET_ALPHA_TARGET not in valid_slots(report)
