"""The rule of what is valid, by hand; Tamiyo's and Tolaria's tests compare their masks with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from esper_leyline import (
    HEADS,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    Op,
    SeedReport,
    StepReport,
    Topology,
    head_sizes,
)
from esper_leyline.masks import task_choices, valid_slots

SPEC = EnvironmentSpec(
    environments=1,
    max_epochs=9,
    slots=("r0c0", "r0c1", "r0c2"),
    topology=Topology.CNN,
    blueprints=("added", Blueprint.CONV_SMALL, Blueprint.NORM),
    styles=(BlendStyle.GATED_GATE,),
    host_parameters=100,
)
REPORT = StepReport(
    environment=0,
    rng_seed=0,
    epoch=1,
    max_epochs=9,
    host_parameters=100,
    seeds=(
        SeedReport(slot="r0c0", permitted=(Op.GERMINATE,)),
        SeedReport(slot="r0c1", permitted=(Op.PRUNE, Op.ADVANCE)),
        SeedReport(slot="r0c2", permitted=(Op.PRUNE,)),
    ),
)


def test_an_op_is_valid_where_the_lifecycle_permits_it():
    assert valid_slots(REPORT) == {
        Op.WAIT: (0,),
        Op.GERMINATE: (0,),
        Op.PRUNE: (1, 2),
        Op.ADVANCE: (1,),
    }


@pytest.mark.parametrize("end", EpisodeEnd)
def test_only_wait_is_valid_after_the_end(end):
    assert valid_slots(replace(REPORT, ended=end)) == {Op.WAIT: (0,)}


def test_a_task_decides_blueprints_and_styles_alone():
    choices, sizes = task_choices(SPEC), head_sizes(3, SPEC.blueprint_choices)
    assert set(choices) == set(HEADS) - {"op", "slot"}
    names = [SPEC.blueprint_choices[index] for index in choices["blueprint"]]
    assert names == ["added", "conv_small", "norm"]
    assert choices["style"] == (BlendStyle.GATED_GATE,)
    for head in set(choices) - {"blueprint", "style"}:
        assert choices[head] == tuple(range(sizes[head]))
