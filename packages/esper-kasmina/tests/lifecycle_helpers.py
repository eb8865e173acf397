"""Brings seeds of any host to a stage by commands."""

from __future__ import annotations

import torch

from esper_kasmina import SlottedHost
from esper_leyline import (
    Advance,
    Blueprint,
    Fossilize,
    Germinate,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
)
from esper_leyline.commands import SlotCommand


def give(host: SlottedHost, slot: str, command: SlotCommand) -> None:
    """Gives a command that has to be accepted."""
    result = host.apply_command(SeedCommand(slot=slot, command=command))
    assert result.accepted, result.reason


def epoch(host: SlottedHost, inputs: torch.Tensor, measured: str | None = None) -> None:
    """One backward pass in training mode, and the end of an epoch."""
    host.train()
    host.zero_grad()
    host(inputs).float().square().mean().backward()
    host.record_gradients()
    measurements = [SeedMeasurement(slot=measured, contribution=1.0)] if measured else []
    host.record_validation(50.0, measurements)
    host.tick()


def raise_seed(
    host: SlottedHost,
    slot: str,
    stage: SeedStage,
    blueprint: Blueprint,
    inputs: torch.Tensor,
    **germinate: object,
) -> None:
    """Brings a dormant slot's seed to a stage, its scale away from zero."""
    give(host, slot, Germinate(blueprint=blueprint, **germinate))
    torch.nn.init.constant_(host.slot(slot).seed.scale, 0.3)
    if stage is SeedStage.GERMINATED:
        return
    give(host, slot, Advance())
    if stage is SeedStage.TRAINING:
        return
    epoch(host, inputs)
    give(host, slot, Advance())
    if stage is SeedStage.BLENDING:
        return
    while host.slot(slot).alpha < 1.0:
        host.tick()
    give(host, slot, Advance())
    if stage is SeedStage.HOLDING:
        return
    epoch(host, inputs, measured=slot)
    give(host, slot, Fossilize())
