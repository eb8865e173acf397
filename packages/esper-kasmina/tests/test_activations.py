"""Kinds of activations: described, inferred from an example, and checked."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import ActivationSpec, KasminaError, SeedSlot
from esper_leyline import Blueprint, Germinate, Topology

KINDS = {
    "signals": (ActivationSpec.maps(6, dimensions=1), (4, 6, 9), "[B, 6, L]"),
    "images": (ActivationSpec.maps(6), (4, 6, 5, 7), "[B, 6, H, W]"),
    "videos": (ActivationSpec.maps(6, dimensions=3), (4, 6, 3, 5, 7), "[B, 6, D, H, W]"),
    "images last": (
        ActivationSpec.maps(6, layout="channels_last"),
        (4, 5, 7, 6),
        "[B, H, W, 6]",
    ),
    "videos last": (
        ActivationSpec.maps(6, dimensions=3, layout="channels_last"),
        (4, 3, 5, 7, 6),
        "[B, D, H, W, 6]",
    ),
    "tokens": (ActivationSpec.tokens(6), (4, 9, 6), "[B, T, 6]"),
    "batch second": (ActivationSpec.tokens(6, batch_first=False), (9, 4, 6), "[T, B, 6]"),
    "vectors": (ActivationSpec.features(6), (4, 6), "[B, 6]"),
}


@pytest.mark.parametrize(("kind", "shape", "words"), KINDS.values(), ids=KINDS)
def test_axes_and_shape_text_of_each_kind(kind, shape, words):
    assert kind.rank == len(shape)
    assert shape[kind.channel_axis] == 6
    assert shape[kind.batch_axis] == 4
    assert str(kind) == words
    column = kind.column(torch.arange(4.0))
    assert (column * torch.ones(shape)).movedim(kind.batch_axis, 0)[3].eq(3.0).all()


@pytest.mark.parametrize(("kind", "shape", "words"), KINDS.values(), ids=KINDS)
def test_a_slot_refuses_activations_of_another_kind(kind, shape, words):
    slot = SeedSlot("r0c0", kind)
    hidden = torch.randn(shape)
    assert slot(hidden) is hidden
    wider = list(shape)
    wider[kind.channel_axis] = 7
    for wrong in (torch.randn(wider), torch.randn(*shape, 2)):
        with pytest.raises(KasminaError) as caught:
            slot(wrong)
        assert f"holds {words}, and was given {tuple(wrong.shape)}" in str(caught.value)


def test_a_slot_infers_its_activations_from_the_first_pass():
    kind, shape, _ = KINDS["vectors"]
    slot = SeedSlot("r0c0")
    early = slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    assert not early.accepted
    assert "run one forward pass" in early.reason
    slot(torch.randn(shape))
    assert slot.activations == kind
    assert slot.apply_command(Germinate(blueprint=Blueprint.NORM)).accepted


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        (torch.zeros(2, 3, 4), r"\(2, 3, 4\), which may be signals .* or tokens"),
        (torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\), which may have its channels second or last"),
        (torch.zeros(3), r"slot 'r0c0' returns 1 axes, \(3,\)"),
        (torch.zeros(2, 3, dtype=torch.long), "returns torch.int64; a slot takes floating-point"),
        ((torch.zeros(2, 3), None), "returns a tuple; a slot takes one tensor"),
    ],
)
def test_activations_that_cannot_be_inferred_are_an_error(hidden, message):
    with pytest.raises(KasminaError, match=message):
        SeedSlot("r0c0")(hidden)


def test_the_activations_of_a_slot_cannot_be_changed():
    slot = SeedSlot("r0c0")
    slot.bind(ActivationSpec.features(4))
    slot.bind(ActivationSpec.features(4))
    with pytest.raises(KasminaError, match=r"holds \[B, 4\] and cannot become \[B, 5\]"):
        slot.bind(ActivationSpec.features(5))


def test_only_blueprints_that_fit_the_activations_germinate():
    slot = SeedSlot("r0c0", ActivationSpec.features(4))
    result = slot.apply_command(Germinate(blueprint=Blueprint.ATTENTION))
    assert not result.accepted
    assert f"'attention' does not fit a slot of topology '{Topology.MLP.value}'" in result.reason
