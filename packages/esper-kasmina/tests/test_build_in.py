"""Fossilized seeds that are built into a network from the start."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import BLUEPRINTS, ActivationSpec, KasminaError, SeedSlot
from esper_leyline import BlendStyle, Blueprint, SeedStage, Topology

MAPS = ActivationSpec.maps(8)


@pytest.mark.parametrize("style", BlendStyle)
@pytest.mark.parametrize("blueprint", BLUEPRINTS[Topology.CNN])
def test_a_built_in_seed_is_fossilized_is_the_identity_and_learns(blueprint, style):
    slot = SeedSlot("r0c0", MAPS, rng_seed=3)
    slot.build_in(blueprint, style)
    report = slot.report()
    assert (report.stage, report.alpha) == (SeedStage.FOSSILIZED, 1.0)
    assert report.parameters == slot.seed.size > 0
    assert report.permitted == ()
    hidden = torch.randn(4, 8, 6, 6)
    assert torch.equal(slot(hidden), hidden)
    slot(hidden).square().sum().backward()
    gradients = [each.grad for each in slot.seed.parameters() if each.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    slot.tick()
    slot.prune_now()
    assert slot.report().alpha_velocity == 0.0
    assert slot.stage is SeedStage.FOSSILIZED
    assert slot.take_events() == ()


def test_a_built_in_seed_is_saved_and_restored():
    slot, fresh = (SeedSlot("r0c0", MAPS, rng_seed=seed) for seed in (3, 4))
    before = slot.snapshot()
    slot.build_in(Blueprint.CONV_SMALL, BlendStyle.GATED_GATE)
    fresh.load_state_dict(slot.state_dict())
    assert fresh.state == slot.state
    held = slot.snapshot()
    slot.restore(before)
    assert not slot.occupied
    slot.restore(held)
    assert slot.stage is SeedStage.FOSSILIZED


def test_build_in_refuses_with_one_line():
    slot = SeedSlot("r0c0", MAPS)
    with pytest.raises(KasminaError, match="'lora' does not fit"):
        slot.build_in(Blueprint.LORA, BlendStyle.LINEAR_ADD)
    with pytest.raises(KasminaError, match="does not know its activations"):
        SeedSlot("r0c0").build_in(Blueprint.NORM, BlendStyle.LINEAR_ADD)
    slot.build_in(Blueprint.NORM, BlendStyle.LINEAR_ADD)
    with pytest.raises(KasminaError, match="'r0c0' is FOSSILIZED"):
        slot.build_in(Blueprint.NORM, BlendStyle.LINEAR_ADD)
