"""A state of a slot that is damaged, of another slot or contradictory is refused."""

from __future__ import annotations

import json

import pytest
import torch

from esper_kasmina import ActivationSpec, KasminaError, SeedSlot
from esper_leyline import Advance, Blueprint, Germinate, SeedStage

TOKENS = ActivationSpec.tokens(8)


def grown(activations, blueprint=Blueprint.NORM) -> SeedSlot:
    slot = SeedSlot("r0c0", activations)
    assert slot.apply_command(Germinate(blueprint=blueprint)).accepted
    assert slot.apply_command(Advance()).accepted
    return slot


def as_bytes(text: str) -> torch.Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def edited(slot, change) -> dict[str, torch.Tensor]:
    """A slot's state dict with one value changed in its JSON."""
    state = slot.state_dict()
    written = json.loads(bytes(state["_extra_state"].tolist()))
    change(written)
    return {**state, "_extra_state": as_bytes(json.dumps(written))}


def put(*path, value):
    def change(written):
        for key in path[:-1]:
            written = written[key]
        written[path[-1]] = value

    return change


SEED = ("record", "state")
CONTRADICTIONS = {
    "seed without a blueprint": put(*SEED, "blueprint", value=None),
    "seed of another topology": put(*SEED, "blueprint", value="conv_light"),
    "seed of nothing": put(*SEED, "blueprint", value="noop"),
    "seed without a style": put(*SEED, "style", value=None),
    "seed without a tempo": put(*SEED, "tempo", value=None),
    "seed nowhere": put("activations", value=None),
    "seed in a dormant slot": put(*SEED, "stage", value=int(SeedStage.DORMANT)),
    "seed in no stage": put(*SEED, "stage", value=int(SeedStage.UNKNOWN)),
    "blending without a ramp": put(*SEED, "stage", value=int(SeedStage.BLENDING)),
    "pruning without a ramp": put(*SEED, "pruning", value=True),
}
UNREADABLE_MESSAGE = r"slot 'r0c0' cannot be read \(.+\); .*damaged"
UNREADABLE = {
    "unknown stage": put(*SEED, "stage", value=5),
    "unknown key": put("record", "mood", value="good"),
    "words for numbers": put("record", "germinations", value="several"),
    "impossible width": put("activations", "channels", value=0),
}


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
def test_a_state_that_cannot_be_read_is_refused(change):
    refuse(edited(grown(TOKENS), change), UNREADABLE_MESSAGE)


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_state_that_contradicts_itself_is_refused(change):
    refuse(edited(grown(TOKENS), change), UNREADABLE_MESSAGE)


NO_STATE = {
    "word": "a word",
    "nothing": None,
    "dict": {"stage": 3},
    "fractions": torch.tensor([1.5]),
    "numbers": torch.tensor([300]),
    "no text": torch.tensor([255, 254], dtype=torch.uint8),
    "empty": torch.tensor([], dtype=torch.uint8),
}


@pytest.mark.parametrize("wrong", NO_STATE.values(), ids=NO_STATE)
def test_an_object_that_is_not_a_state_is_refused(wrong):
    refuse({**grown(TOKENS).state_dict(), "_extra_state": wrong}, "slot 'r0c0' cannot be read")


def test_a_truncated_state_is_refused():
    state = grown(TOKENS).state_dict()
    refuse({**state, "_extra_state": state["_extra_state"][:200]}, "cannot be read")


def test_the_state_of_another_slot_is_refused():
    other = SeedSlot("r1c0", TOKENS)
    refuse(other.state_dict(), "slot 'r0c0' was given the state of slot 'r1c0'")


def test_the_state_of_a_slot_at_another_submodule_is_refused():
    narrow = grown(ActivationSpec.tokens(4))
    refuse(narrow.state_dict(), r"holds \[B, T, 8\] and cannot become \[B, T, 4\]")


def refuse(state, message):
    """A slot with a seed refuses, and stays as it was."""
    slot = grown(TOKENS, Blueprint.LORA)
    before, report = slot.seed, slot.report()
    with pytest.raises(KasminaError, match=message):
        slot.load_state_dict(state)
    assert slot.seed is before
    assert slot.report() == report
    assert slot(torch.ones(1, 2, 8)).shape == (1, 2, 8)
