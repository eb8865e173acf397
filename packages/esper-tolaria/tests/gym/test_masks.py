from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import (
    HEADS,
    RELEVANT_HEADS,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    FactoredAction,
    Op,
    SeedReport,
    StepReport,
    Topology,
)
from esper_tamiyo import MaskBuilder
from esper_tolaria.gym import ActionMasks

SPEC = EnvironmentSpec(
    environments=1,
    max_epochs=9,
    slots=("r0c0", "r0c1", "r0c2", "r1c0"),
    topology=Topology.CNN,
    blueprints=(Blueprint.NORM, Blueprint.CONV_SMALL),
    styles=(BlendStyle.LINEAR_ADD, BlendStyle.GATED_GATE),
    host_parameters=100,
)
MASKS = ActionMasks(SPEC)
AIMED = tuple(op for op in Op if op is not Op.WAIT)


def report_of(permitted, ended=None) -> StepReport:
    seeds = tuple(
        SeedReport(slot=slot, permitted=tuple(ops))
        for slot, ops in zip(SPEC.slots, permitted, strict=True)
    )
    return StepReport(
        environment=0,
        rng_seed=0,
        epoch=1,
        max_epochs=9,
        seeds=seeds,
        host_parameters=100,
        ended=ended,
    )


reports = st.lists(st.sets(st.sampled_from(AIMED)), min_size=4, max_size=4).map(report_of)


def test_head_sizes_are_those_of_leyline():
    assert MASKS.sizes == (6, 4, 13, 4, 3, 3, 4, 5)


@given(report=reports, data=st.data())
def test_actions_sampled_under_the_mask_are_valid(report, data):
    heads = MASKS.split(MASKS.flat(report))
    drawn = [data.draw(st.sampled_from(np.flatnonzero(heads[name]).tolist())) for name in HEADS]
    asked = FactoredAction.from_indices(drawn).canonical()
    action = MASKS.resolve_slot(asked, report)
    if action.op is Op.WAIT:
        assert action == FactoredAction()
        return
    open_slots = [slot for slot, seed in enumerate(report.seeds) if action.op in seed.permitted]
    assert action.slot in open_slots
    assert (action.op, action.blueprint, action.style) == (asked.op, asked.blueprint, asked.style)
    if action.op is Op.GERMINATE:
        assert action.blueprint in SPEC.blueprints
    if "style" in RELEVANT_HEADS[action.op]:
        assert action.style in SPEC.styles
    distance = abs(action.slot - asked.slot)
    nearer = [slot for slot in open_slots if abs(slot - asked.slot) < distance]
    assert nearer == []
    if asked.slot in open_slots:
        assert action == asked
    elif asked.slot + distance == action.slot:
        assert asked.slot - distance not in open_slots


@given(report=reports)
def test_a_head_that_no_valid_op_uses_has_one_choice(report):
    heads = MASKS.split(MASKS.flat(report))
    open_ops = [op for op in Op if heads["op"][op]]
    assert set(open_ops) == {Op.WAIT}.union(*(seed.permitted for seed in report.seeds))
    for name in HEADS[1:]:
        if any(name in RELEVANT_HEADS[op] for op in open_ops):
            assert heads[name].any()
        else:
            assert heads[name].tolist() == [True] + [False] * (len(heads[name]) - 1)


@given(report=reports)
def test_the_slot_masks_are_exact(report):
    slots = MASKS.slots(report)
    for op in AIMED:
        expected = [op in seed.permitted for seed in report.seeds]
        assert slots[op].tolist() == expected
    assert slots[Op.WAIT].tolist() == [True, False, False, False]


@given(
    permitted=st.lists(st.sets(st.sampled_from(AIMED)), min_size=4, max_size=4),
    end=st.sampled_from(EpisodeEnd),
)
def test_only_wait_is_valid_when_the_episode_is_over_or_waiting(permitted, end):
    over, waiting = report_of(permitted, end), report_of(permitted)
    for flat in (MASKS.flat(over), MASKS.flat(waiting, waiting=True)):
        assert flat.sum() == len(HEADS)
        assert all(head[0] for head in MASKS.split(flat).values())


def test_the_lower_of_two_equally_near_slots_is_chosen():
    report = report_of([{Op.PRUNE}, (), {Op.PRUNE}, ()])
    moved = MASKS.resolve_slot(FactoredAction(op=Op.PRUNE, slot=1, alpha_speed=2), report)
    assert moved == FactoredAction(op=Op.PRUNE, slot=0, alpha_speed=2)


def test_an_op_that_is_valid_in_no_slot_is_returned_unchanged():
    action = FactoredAction(op=Op.FOSSILIZE, slot=3)
    assert MASKS.resolve_slot(action, report_of([{Op.PRUNE}, (), (), ()])) is action


@pytest.mark.parametrize("slots", [None, ["r0c1"]], ids=["all slots", "one slot"])
def test_masks_equal_those_of_tamiyo(make_local, growth, slots):
    environment = make_local(n_envs=1, slots=slots)
    masks, builder = ActionMasks(environment.spec), MaskBuilder(environment.spec)
    reports = list(environment.reset([5]))
    for action in growth if slots is None else [FactoredAction()] * 2:
        reports += environment.step([action])
    theirs = builder.build(reports)
    read_anywhere = set()
    for index, report in enumerate(reports):
        heads, exact = masks.split(masks.flat(report)), masks.slots(report)
        assert heads["op"].tolist() == theirs["op"][index].tolist()
        open_ops = [op for op in Op if heads["op"][op]]
        assert exact[open_ops].tolist() == theirs["slot"][index][open_ops].tolist()
        read = {name for op in open_ops for name in RELEVANT_HEADS[op]} - {"op", "slot"}
        for name in read:
            assert heads[name].tolist() == theirs[name][index].tolist()
        read_anywhere |= read
    assert {"blueprint", "style", "tempo"} <= read_anywhere
