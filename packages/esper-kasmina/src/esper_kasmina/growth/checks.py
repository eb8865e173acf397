"""Checks of what a user gives to ``grow``, and of what the user's functions do."""

from __future__ import annotations

import inspect
import math

from torch import nn
from torch.optim import Optimizer

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.growth.schedule import Schedule
from esper_kasmina.optim.groups import parameter_groups
from esper_kasmina.slots.lookup import seed_slots, slots_by_name
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import SeedEvidence, SeedStage, Tick, advance, show_text

_GROWING = (SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING)


def check_functions(train: object, evaluate: object) -> None:
    """Checks that ``train`` and ``evaluate`` can be called with one argument.

    Raises:
        KasminaError: If one of them cannot.
    """
    for name, function in (("train", train), ("evaluate", evaluate)):
        if not callable(function):
            raise KasminaError(
                f"{name} is {shown(function)}, which cannot be called; give a function that takes "
                "the model"
            )
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            continue  # a function written in C may have no signature
        try:
            signature.bind(None)
        except TypeError:
            raise KasminaError(
                f"{name} does not take one argument, but {show_text(str(signature))}; give a "
                "function that takes the model"
            ) from None


def check_schedule(schedule: object) -> Schedule:
    """Returns a schedule, the default one for ``None``.

    Raises:
        KasminaError: If it is something else.
    """
    if not isinstance(schedule, Schedule | None):
        raise KasminaError(
            f"the schedule is {shown(schedule)}; give Schedule(training=3, ...) or None"
        )
    return schedule or Schedule()


def find_slot(model: nn.Module, name: str) -> SeedSlot:
    """Returns a slot of a model.

    Raises:
        KasminaError: If the model has no slot of this id.
    """
    slots = slots_by_name(seed_slots(model))
    if name not in slots:
        allowed = ", ".join(slots) or "none"
        raise KasminaError(f"the model has no slot {shown(name)}; there are: {allowed}")
    return slots[name]


def check_trains_model(optimizer: Optimizer, model: nn.Module) -> None:
    """Checks that an optimizer trains at least one parameter of the model, if one is trainable.

    Raises:
        KasminaError: If it trains none.
    """
    own = {id(p) for p in parameter_groups(model)[0]["params"] if p.requires_grad}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if own and not own & trained:
        raise KasminaError(
            f"the {type(optimizer).__name__} trains no parameter of the model; make it from "
            "parameter_groups(model), or freeze the model if only seeds are to learn"
        )


def check_empty(slot: SeedSlot) -> None:
    """Checks that a slot is DORMANT.

    Raises:
        KasminaError: If it is not.
    """
    if slot.stage is SeedStage.DORMANT:
        return
    if not slot.occupied:
        raise KasminaError(
            f"slot '{slot.name}' is {slot.stage.name} and free after {_epochs_to_wait(slot)} more "
            "epochs; call its tick() once an epoch until then, or choose another slot"
        )
    assert slot.state.blueprint is not None
    held = f"slot '{slot.name}' holds a {slot.state.blueprint} seed that is "
    if slot.stage is SeedStage.FOSSILIZED:
        raise KasminaError(f"{held}FOSSILIZED; choose another slot, or graft the harvest again")
    raise KasminaError(
        f"{held}{slot.stage.name}; prune it (prune_now, then tick until it is DORMANT), or choose "
        "another slot"
    )


def _epochs_to_wait(slot: SeedSlot) -> int:
    state, epochs = slot.state, 0
    while state.stage is not SeedStage.DORMANT:
        state = advance(state, Tick(), evidence=SeedEvidence(), rules=slot.rules).state
        epochs += 1
    return epochs


def check_has_run(returned: object) -> None:
    """Checks that what ``train`` returned is not a generator or a coroutine.

    Raises:
        KasminaError: If it is one.
    """
    if inspect.isgenerator(returned) or inspect.iscoroutine(returned):
        returned.close()
        raise KasminaError(
            f"train returned a {type(returned).__name__}, so it has not run; give a function "
            "without yield or await, which trains when it is called"
        )


def check_has_seed(slot: SeedSlot) -> None:
    """Checks that the user's functions have not removed the seed.

    Raises:
        KasminaError: If they have.
    """
    if slot.stage not in _GROWING:
        raise KasminaError(
            f"the seed in slot '{slot.name}' is gone (the slot is {slot.stage.name}) after train "
            "or evaluate has run; leave its slot to grow: give no commands, and load no state"
        )


def check_score(returned: object) -> float:
    """Returns what ``evaluate`` returned as a number.

    Raises:
        KasminaError: If it is not one finite number.
    """
    try:
        score = float(returned)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        score = math.nan
    # NaN is refused, because comparisons with it are false and the seed would be kept.
    if not math.isfinite(score):
        raise KasminaError(
            f"evaluate returned {shown(returned)}; return one finite number, more is better"
        )
    return score


def no_step_error(optimizer: Optimizer) -> KasminaError:
    """Returns the error for an optimizer that made no step in an epoch."""
    return KasminaError(
        f"train(model) made no step of the {type(optimizer).__name__} that grow was given, "
        "so the seed cannot learn; call its step() after backward()"
    )


def no_gradient_error(slot: SeedSlot, *, evaluate_runs_slot: bool) -> KasminaError:
    """Returns the error for a seed that got no gradient in an epoch."""
    start = f"no gradient reached the seed in slot '{slot.name}' while train(model) ran: "
    if evaluate_runs_slot:
        return KasminaError(
            f"{start}evaluate(model) runs the slot, so train has to run the model that it is "
            "given, and call backward; under checkpointing of frozen layers give "
            "use_reentrant=False"
        )
    return KasminaError(
        f"{start}evaluate(model) does not run the slot either, so choose a place that the "
        "forward pass reaches, and run the model that the functions are given"
    )
