"""The factored action: heads, relevance, canonical values, and the command it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import (
    BUILT_IN_BLUEPRINTS,
    HEADS,
    RELEVANT_HEADS,
    Advance,
    AlphaCurve,
    BlendStyle,
    Blueprint,
    FactoredAction,
    Fossilize,
    Germinate,
    LeylineError,
    Op,
    Prune,
    SeedCommand,
    SetAlphaTarget,
    Topology,
    head_sizes,
)
from esper_leyline.actions import NULL_BLUEPRINT, TOPOLOGY_BLUEPRINTS, blueprint_choices
from esper_leyline.commands import to_command

SLOTS = ("r0c0", "r0c1", "r0c2")
indices = st.tuples(*[st.integers(0, size - 1) for size in head_sizes(len(SLOTS)).values()])


def test_the_heads_have_the_sizes_of_the_domain():
    assert head_sizes(3) == {
        "op": 6,
        "slot": 3,
        "blueprint": 13,
        "style": 4,
        "tempo": 3,
        "alpha_target": 3,
        "alpha_speed": 4,
        "alpha_curve": 5,
    }
    assert tuple(head_sizes(1)) == HEADS


@given(indices)
def test_an_action_is_its_indices(chosen):
    assert FactoredAction.from_indices(chosen).indices() == chosen


@given(indices)
def test_a_canonical_action_translates_to_the_same_command(chosen):
    action = FactoredAction.from_indices(chosen)
    canonical = action.canonical()
    for name, index, kept in zip(HEADS, action.indices(), canonical.indices(), strict=True):
        assert kept == (index if name in RELEVANT_HEADS[action.op] else 0)
    assert canonical.canonical() == canonical
    assert to_command(canonical, SLOTS) == to_command(action, SLOTS)


@pytest.mark.parametrize("head", [name for name in HEADS if name != "slot"])
def test_an_index_outside_its_head_is_refused(head):
    size = head_sizes(3)[head]
    bad = [size if name == head else 0 for name in HEADS]
    with pytest.raises(LeylineError, match=f"head '{head}' has no index {size}; it has {size}"):
        FactoredAction.from_indices(bad)


def test_a_negative_slot_and_a_wrong_count_are_refused():
    with pytest.raises(LeylineError, match="head 'slot' has no index -1"):
        FactoredAction.from_indices([0, -1, 0, 0, 0, 0, 0, 0])
    with pytest.raises(LeylineError, match="2 indices for 8 heads"):
        FactoredAction.from_indices([0, 0])


@pytest.mark.parametrize(
    ("action", "command"),
    [
        (
            FactoredAction(
                op=Op.GERMINATE,
                blueprint=Blueprint.NORM,
                style=BlendStyle.GATED_GATE,
                tempo=2,
                alpha_target=1,
            ),
            Germinate(
                blueprint=Blueprint.NORM, style=BlendStyle.GATED_GATE, tempo=8, alpha_target=0.7
            ),
        ),
        (
            FactoredAction(
                op=Op.SET_ALPHA_TARGET,
                style=BlendStyle.SIGMOID_ADD,
                alpha_target=0,
                alpha_speed=3,
                alpha_curve=AlphaCurve.SIGMOID_24,
            ),
            SetAlphaTarget(
                style=BlendStyle.SIGMOID_ADD,
                alpha_target=0.5,
                ticks=8,
                curve=AlphaCurve.SIGMOID_24,
            ),
        ),
        (
            FactoredAction(op=Op.PRUNE, alpha_speed=1, alpha_curve=AlphaCurve.COSINE),
            Prune(ticks=3, curve=AlphaCurve.COSINE),
        ),
        (FactoredAction(op=Op.FOSSILIZE), Fossilize()),
        (FactoredAction(op=Op.ADVANCE), Advance()),
    ],
)
def test_an_action_translates_to_its_command(action, command):
    assert to_command(action, SLOTS) == SeedCommand(slot="r0c0", command=command)


def test_wait_is_no_command_and_slots_index_the_enabled_ones():
    assert to_command(FactoredAction(), SLOTS) is None
    assert to_command(FactoredAction(op=Op.ADVANCE, slot=2), SLOTS).slot == "r0c2"


def test_topologies_share_attention_and_norm_only_and_none_offers_noop():
    cnn, transformer, mlp = (set(TOPOLOGY_BLUEPRINTS[topology]) for topology in Topology)
    assert cnn & transformer == {Blueprint.ATTENTION, Blueprint.NORM}
    assert cnn | transformer == set(Blueprint) - {Blueprint.NOOP}
    assert len(cnn) == len(transformer) == 7
    assert transformer - mlp == {Blueprint.ATTENTION, Blueprint.FLEX_ATTENTION}
    assert mlp < transformer
    assert NULL_BLUEPRINT == 13


def test_added_blueprints_follow_the_built_in_ones_in_the_head():
    choices = blueprint_choices(("mine", Blueprint.NORM, "other"))
    assert choices == (*BUILT_IN_BLUEPRINTS, "mine", "other")
    assert head_sizes(3, choices)["blueprint"] == 15
    action = FactoredAction(op=Op.GERMINATE, slot=1, blueprint="other", tempo=2)
    assert action.indices(choices)[HEADS.index("blueprint")] == 14
    assert FactoredAction.from_indices(action.indices(choices), choices) == action
    with pytest.raises(LeylineError, match="'other' is not a choice of the blueprint head; choic"):
        action.indices()
    with pytest.raises(LeylineError, match="head 'blueprint' has no index 14; it has 13"):
        FactoredAction.from_indices(action.indices(choices))


def test_a_built_in_blueprint_is_its_name():
    assert Blueprint.CONV_LIGHT == "conv_light"
    assert repr(Blueprint.CONV_LIGHT) == "'conv_light'"
    assert {Blueprint.CONV_LIGHT: 1}["conv_light"] == 1
