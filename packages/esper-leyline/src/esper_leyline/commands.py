"""Commands to a seed, and the way from a factored action to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from esper_leyline.actions import (
    ALPHA_SPEED_TICKS,
    ALPHA_TARGETS,
    TEMPO_EPOCHS,
    AlphaCurve,
    BlendStyle,
    BlueprintName,
    FactoredAction,
    Op,
)
from esper_leyline.wire import WIRE_CONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class Germinate:
    """Create a seed in a dormant slot.

    Attributes:
        tempo: Epochs of the first blend.
        alpha_target: Where the first blend ends.
    """

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["germinate"] = "germinate"
    blueprint: BlueprintName
    style: BlendStyle = BlendStyle.LINEAR_ADD
    tempo: int = TEMPO_EPOCHS[0]
    alpha_target: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Move a seed through the gate ahead of it (G1, G2 or G3)."""

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["advance"] = "advance"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlphaTarget:
    """Blend a seed more or less strongly, over ``ticks`` ticks (0: immediately)."""

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["set_alpha_target"] = "set_alpha_target"
    style: BlendStyle
    alpha_target: float
    ticks: int
    curve: AlphaCurve = AlphaCurve.LINEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Remove a seed, ramping its alpha down over ``ticks`` ticks first (0: immediately)."""

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["prune"] = "prune"
    ticks: int = 0
    curve: AlphaCurve = AlphaCurve.LINEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Fossilize:
    """Make a holding seed part of the host for good (G5)."""

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["fossilize"] = "fossilize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One epoch has ended."""

    __pydantic_config__ = WIRE_CONFIG


SlotCommand = Germinate | Advance | SetAlphaTarget | Prune | Fossilize
LifecycleInput = SlotCommand | Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedCommand:
    """A lifecycle command addressed to one slot of a host."""

    __pydantic_config__ = WIRE_CONFIG

    slot: str
    command: Annotated[SlotCommand, Field(discriminator="kind")]


def to_command(action: FactoredAction, slots: Sequence[str]) -> SeedCommand | None:
    """Translates a factored action into a command; ``None`` for WAIT.

    Args:
        action: The decision.
        slots: The enabled slots, row-major, which ``action.slot`` indexes.
    """
    ticks = ALPHA_SPEED_TICKS[action.alpha_speed]
    command: SlotCommand
    match action.op:
        case Op.WAIT:
            return None
        case Op.GERMINATE:
            command = Germinate(
                blueprint=action.blueprint,
                style=action.style,
                tempo=TEMPO_EPOCHS[action.tempo],
                alpha_target=ALPHA_TARGETS[action.alpha_target],
            )
        case Op.SET_ALPHA_TARGET:
            command = SetAlphaTarget(
                style=action.style,
                alpha_target=ALPHA_TARGETS[action.alpha_target],
                ticks=ticks,
                curve=action.alpha_curve,
            )
        case Op.PRUNE:
            command = Prune(ticks=ticks, curve=action.alpha_curve)
        case Op.FOSSILIZE:
            command = Fossilize()
        case Op.ADVANCE:
            command = Advance()
    return SeedCommand(slot=slots[action.slot], command=command)
