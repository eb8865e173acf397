"""What this version of Kasmina can build and blend, beyond what the lifecycle accepts."""

from __future__ import annotations

from esper_kasmina.blueprints import CNN_BLUEPRINTS
from esper_leyline import (
    BlendAlgorithm,
    BlendStyle,
    Blueprint,
    Germinate,
    SetAlphaTarget,
    SlotCommand,
)

SUPPORTED_STYLES = tuple(style for style in BlendStyle if style.algorithm is BlendAlgorithm.ADD)
"""The blend styles that a seed may be given."""


def unsupported(command: SlotCommand) -> str | None:
    """Returns why a command is beyond this version, or ``None`` if it is not."""
    match command:
        case Germinate():
            return _unfit(command.blueprint) or _unblendable(command.style)
        case SetAlphaTarget():
            return _unblendable(command.style)
        case _:
            return None


def _unfit(blueprint: Blueprint) -> str | None:
    if blueprint in CNN_BLUEPRINTS:
        return None
    allowed = ", ".join(known.name for known in CNN_BLUEPRINTS)
    return f"blueprint {blueprint.name} does not fit a CNN slot; allowed: {allowed}"


def _unblendable(style: BlendStyle) -> str | None:
    if style in SUPPORTED_STYLES:
        return None
    allowed = ", ".join(known.name for known in SUPPORTED_STYLES)
    return f"blend style {style.name} is not part of this version; allowed: {allowed}"
