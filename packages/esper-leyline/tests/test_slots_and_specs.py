"""Slot ids and the descriptions of hosts and tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import (
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    DataSpec,
    HostTraining,
    LeylineError,
    MLPHostSpec,
    TaskSpec,
    Topology,
    TransformerHostSpec,
    check_slots,
)
from esper_leyline.config.host import Augmentation
from esper_leyline.slots import order_slots, parse_slot

positions = st.tuples(st.integers(0, 200), st.integers(0, 200))
HOST = CNNHostSpec(input_shape=(1, 40), classes=10, widths=(8, 8, 8), pools=(True, False, False))
DATA = DataSpec(
    name="d",
    source="here",
    input_shape=(1, 40),
    classes=10,
    train_size=3,
    validation_size=2,
    test_size=1,
)


def task(**changes):
    facts = {
        "name": "t",
        "description": "a task",
        "host": HOST,
        "data": DATA,
        "slots": ("r0c0", "r0c2"),
        "blueprints": (Blueprint.NORM,),
        "styles": (BlendStyle.LINEAR_ADD,),
    }
    return TaskSpec(**{**facts, **changes})


@given(positions)
def test_a_slot_id_holds_row_and_column(position):
    row, column = position
    assert parse_slot(f"r{row}c{column}") == position


@given(st.sets(positions, min_size=1), st.randoms())
def test_slots_are_ordered_row_major_by_number(places, generator: random.Random):
    shuffled = [f"r{row}c{column}" for row, column in places]
    generator.shuffle(shuffled)
    assert [parse_slot(slot) for slot in order_slots(shuffled)] == sorted(places)


@pytest.mark.parametrize(
    "text", ["", "r0", "c0", "r0c", "R0C0", "r-1c0", "r01c0", "r0c0 ", "r0c0c"]
)
def test_other_text_is_no_slot_id(text):
    with pytest.raises(LeylineError, match="is not a slot id; write r<row>c<col>"):
        parse_slot(text)


def test_a_slot_named_twice_is_refused():
    with pytest.raises(LeylineError, match="slot 'r0c1' is named twice"):
        order_slots(["r0c1", "r0c0", "r0c1"])


def test_wanted_slots_must_be_offered():
    assert check_slots(("r0c2", "r0c0"), HOST.slots) == ("r0c0", "r0c2")
    with pytest.raises(ValueError, match=r"no slot 'r0c3'; it offers r0c0, r0c1, r0c2"):
        check_slots(("r0c3",), HOST.slots)
    with pytest.raises(ValueError, match=r"enable at least one of r0c0, r0c1, r0c2"):
        check_slots((), HOST.slots)


def test_hosts_offer_slots_by_block_and_by_layers():
    gpt = TransformerHostSpec(vocabulary=50_257, width=384, heads=6, layers=6, block=256)
    assert HOST.slots == gpt.slots == ("r0c0", "r0c1", "r0c2")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slots": ("r0c9",)}, "the host has no slot 'r0c9'"),
        ({"slots": ("r0c1", "r0c1")}, "slot 'r0c1' is named twice"),
        (
            {"blueprints": (Blueprint.LORA,)},
            "'lora' does not fit a host of topology 'cnn'",
        ),
        ({"blueprints": ()}, "no blueprints; allow at least one of conv_light"),
        ({"blueprints": (Blueprint.NORM, "mine", "norm")}, "'norm' is listed twice"),
        ({"styles": ()}, "at least one style"),
    ],
)
def test_a_task_fits_its_host(changes, says):
    with pytest.raises(ValueError, match=says):
        task(**changes)


def test_a_cnn_pools_or_not_after_each_block():
    with pytest.raises(ValueError, match="1 pools for 2 blocks; give one each"):
        CNNHostSpec(input_shape=(1, 8), classes=2, widths=(4, 4), pools=(True,))


@pytest.mark.parametrize(
    ("augmentation", "still"),
    [
        (Augmentation(), True),
        (Augmentation(crop_padding=1), False),
        (Augmentation(flip=True), False),
    ],
)
def test_augmentation_is_off_by_default(augmentation, still):
    assert augmentation.changes_nothing is still
    assert HostTraining().augmentation.changes_nothing


@pytest.mark.parametrize(
    "changes", [{"label_smoothing": 1.0}, {"augmentation": {"crop_padding": -1}}]
)
def test_training_keeps_to_its_ranges(changes):
    with pytest.raises(ValueError, match=r"Input should be (less|greater) than"):
        HostTraining.model_validate(changes)


def test_an_mlp_has_a_slot_a_block():
    spec = MLPHostSpec(input_shape=(1, 40), classes=10, widths=(8, 4))
    assert spec.slots == ("r0c0", "r0c1")
    assert spec.topology is Topology.MLP


def test_heads_share_the_width_evenly():
    with pytest.raises(ValueError, match="width of 10 cannot be shared by 4 heads"):
        TransformerHostSpec(vocabulary=9, width=10, heads=4, layers=2, block=8)
