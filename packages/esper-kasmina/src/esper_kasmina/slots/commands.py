"""Checks whether a slot can carry out a command."""

from __future__ import annotations

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import BLUEPRINTS, find_fault, why_unfit
from esper_kasmina.checks import shown
from esper_leyline import BUILT_IN_BLUEPRINTS, AlphaCurve, BlendStyle, Germinate
from esper_leyline.commands import SlotCommand


def why_impossible(
    command: SlotCommand, slot: str, activations: ActivationSpec | None, module_path: str | None
) -> str | None:
    """Returns why a command cannot be carried out in any stage, ``None`` if it can.

    Args:
        command: The command.
        slot: Id of the slot.
        activations: The kind of activations in the slot, ``None`` if it is not known yet.
        module_path: The submodule after which the slot runs in a grafted model.
    """
    for name, kind in (("style", BlendStyle), ("curve", AlphaCurve)):
        value = getattr(command, name, None)
        if value is not None and not isinstance(value, kind):
            allowed = ", ".join(each.name for each in kind)
            return f"{name} is {shown(value)}; give a {kind.__name__}: {allowed}"
    if not isinstance(command, Germinate):
        return None
    if activations is None:
        where = "it" if module_path is None else f"submodule '{module_path}'"
        return (
            f"slot '{slot}' does not know its activations yet: no pass has reached "
            f"{where}; run one forward pass, or give an ActivationSpec when you make the slot"
        )
    reason = why_unfit(command.blueprint, activations.topology)
    if reason is not None or command.blueprint in BUILT_IN_BLUEPRINTS:
        return reason
    spec = BLUEPRINTS[activations.topology][command.blueprint]
    return find_fault(spec, activations.channels_second())
