"""One seed's whole life in a training loop of any kind, by a fixed schedule.

For a model that is to grow without a controller: germinate, train in isolation, blend in, hold,
measure, and keep the seed if it is worth its place.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.growth import Growth, Schedule
from esper_kasmina.optim.gradient_observer import GradientObserver
from esper_kasmina.optim.groups import parameter_groups, seed_slots, slots_by_name, sync_optimizer
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.parallel import check_not_wrapped
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import (
    ACTIVE_STAGES,
    Advance,
    Fossilize,
    Germinate,
    SeedEvidence,
    SeedMeasurement,
    SeedStage,
    Tick,
    advance,
    show_text,
)
from esper_leyline.commands import SlotCommand


def grow(  # noqa: PLR0917 - it reads as a sentence
    model: nn.Module,
    slot: str,
    blueprint: str,
    optimizer: Optimizer,
    train: Callable[[nn.Module], object],
    evaluate: Callable[[nn.Module], float],
    *,
    schedule: Schedule | None = None,
    seed_options: Mapping[str, Any] | None = None,
    scheduler: Any = None,
) -> Growth:
    """Grows one seed from germination to its judgement, inside your own training loop.

    Each epoch it calls ``train(model)``, then ``evaluate(model)``, and once the seed is blended in
    ``evaluate(model)`` again with the slot empty, for what the seed contributes. The stages and
    their gates are those of ``esper_leyline.advance``. In TRAINING the outputs and the gradients
    of the host are what they are without the seed, which gets the gradient at the host's output
    by a straight-through estimator (Bengio et al. 2013); it starts as the identity behind a
    scale of 0 (ReZero, Bachlechner et al. 2021).

    If anything fails or is interrupted on the way, the slot is empty again, as it was, and the
    seed's parameters have left the optimizer; what the host has learned meanwhile stays. So the
    call can be repeated once the mistake is corrected.

    Args:
        model: Any model with slots: grafted, built, or with a ``SeedSlot`` in it. A grafted one
            has seen its activations: a forward pass was run, or ``example_inputs`` given.
        slot: The id of a DORMANT slot, such as ``"r0c0"``.
        blueprint: What to grow: the name of a blueprint.
        optimizer: Trains the model; the seed's parameters join it as a group of their own and,
            if it is pruned, leave it, and no other parameter's state is touched.
        train: Trains the model that it is given for one epoch with ``optimizer``; what it returns
            is not read. It sets the mode (``model.train()``) itself. It may clear gradients
            before ``backward`` or after ``step``, accumulate, clip and scale them.
        evaluate: Returns the model's score on validation data as one finite number, or a tensor
            of one: more is better. It sets the mode (``model.eval()``) itself. Its unit is that
            of contributions and of ``Schedule.min_contribution``; accuracy in percent gives
            points. Give the negative of a loss.
        schedule: How long and how well; ``None`` takes the defaults.
        seed_options: In what the seed's parameter group differs from its host's, such as
            ``{"lr_scale": 0.5}``; see ``sync_optimizer``.
        scheduler: The optimizer's learning-rate scheduler, which ``train`` steps, or a
            wrapper of it. It follows the seed's group; most are found without this.

    Returns:
        Whether the seed was kept, why, and what it contributed.

    Raises:
        KasminaError: If the slot is not there or not DORMANT, the blueprint does not fit it, the
            optimizer trains nothing of the model or cannot take a group, an argument is of
            another kind, ``train`` or ``evaluate`` does not take the model, ``evaluate`` returns
            no finite number, no gradient reached the seed in an epoch, or ``optimizer`` made no
            step in one.
    """
    _check_loop(train, evaluate)
    chosen = _check_schedule(schedule)
    chosen_slot = _find(model, slot)
    check_not_wrapped(model)
    # Before the birth, so that a wrong optimizer leaves the slot as it was.
    sync = partial(sync_optimizer, optimizer, model, seed_options, scheduler=scheduler)
    sync()
    _check_trains(unwrap_optimizer(optimizer), model)
    _check_empty(chosen_slot)
    before = chosen_slot.snapshot()
    try:
        germinate = Germinate(blueprint=blueprint, style=chosen.style, tempo=chosen.blending)
        _command(chosen_slot, germinate)
        _command(chosen_slot, Advance())
        growth = _live(_Life(model, chosen_slot, train, evaluate, chosen), optimizer, sync)
    except BaseException:
        chosen_slot.restore(before)
        sync()
        raise
    return growth


@dataclass(frozen=True, slots=True)
class _Life:
    """A seed in TRAINING, and what happens to it."""

    model: nn.Module
    slot: SeedSlot
    train: Callable[[nn.Module], object]
    evaluate: Callable[[nn.Module], float]
    schedule: Schedule


def _live(life: _Life, optimizer: Optimizer, sync: Callable[[], None]) -> Growth:
    """Trains until the seed is kept or pruned."""
    model, slot = life.model, life.slot
    blueprint = slot.state.blueprint
    assert blueprint is not None
    epochs, score, contribution, reason = 0, 0.0, 0.0, ""
    while slot.live:
        sync()
        with GradientObserver(optimizer, model, [slot]) as observed:
            _check_ran(life.train(model))
        _check_present(slot)
        if observed.missing:
            raise _unreached(slot, reached=_runs(model, slot, life.evaluate))
        if observed.unused:
            raise KasminaError(
                f"train(model) made no step of the {type(optimizer).__name__} that grow was given, "
                "so the seed cannot learn; call its step() after backward()"
            )
        epochs += 1
        score, contribution = _measure(model, slot, life.evaluate)
        _check_present(slot)
        slot.tick()
        reason = _move_on(slot, contribution, life.schedule)
    sync()
    kept = slot.stage is SeedStage.FOSSILIZED
    return Growth(
        slot=slot.name,
        blueprint=blueprint,
        fossilized=kept,
        reason=reason,
        parameters=slot.report().parameters,
        contribution=contribution,
        score=score if kept else score - contribution,
        epochs=epochs,
    )


def _check_loop(train: object, evaluate: object) -> None:
    for name, part in (("train", train), ("evaluate", evaluate)):
        if not callable(part):
            raise KasminaError(
                f"{name} is {shown(part)}, which cannot be called; give a function that takes the "
                "model"
            )
        try:
            signature = inspect.signature(part)
        except (TypeError, ValueError):
            continue  # functions written in C need not have one
        try:
            signature.bind(None)
        except TypeError:
            raise KasminaError(
                f"{name} does not take one argument, but {show_text(str(signature))}; give a "
                "function that takes the model"
            ) from None


def _check_schedule(schedule: object) -> Schedule:
    if not isinstance(schedule, Schedule | None):
        raise KasminaError(
            f"the schedule is {shown(schedule)}; give Schedule(training=3, ...) or None"
        )
    return schedule or Schedule()


def _check_trains(optimizer: Optimizer, model: nn.Module) -> None:
    own = {id(p) for p in parameter_groups(model)[0]["params"] if p.requires_grad}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if own and not own & trained:
        raise KasminaError(
            f"the {type(optimizer).__name__} trains no parameter of the model; make it from "
            "parameter_groups(model), or freeze the model if only seeds are to learn"
        )


def _check_empty(slot: SeedSlot) -> None:
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


def _check_ran(returned: object) -> None:
    if inspect.isgenerator(returned) or inspect.iscoroutine(returned):
        returned.close()
        raise KasminaError(
            f"train returned a {type(returned).__name__}, so it has not run; give a function "
            "without yield or await, which trains when it is called"
        )


def _check_present(slot: SeedSlot) -> None:
    if slot.stage not in _GROWING:
        raise KasminaError(
            f"the seed in slot '{slot.name}' is gone (the slot is {slot.stage.name}) after train "
            "or evaluate has run; leave its slot to grow: give no commands, and load no state"
        )


def _find(model: nn.Module, name: str) -> SeedSlot:
    slots = slots_by_name(seed_slots(model))
    if name not in slots:
        there = ", ".join(slots) or "none"
        raise KasminaError(f"the model has no slot {shown(name)}; there are: {there}")
    return slots[name]


def _command(slot: SeedSlot, command: SlotCommand) -> None:
    result = slot.apply_command(command)
    if not result.accepted:
        raise KasminaError(f"slot '{slot.name}' does not {command.kind}: {result.reason}")


def _measure(
    model: nn.Module, slot: SeedSlot, evaluate: Callable[[nn.Module], float]
) -> tuple[float, float]:
    """Records validation; returns the score and the seed's share of it."""
    score = _score(model, evaluate)
    contribution = 0.0
    measured = None
    if slot.stage in ACTIVE_STAGES and slot.alpha > 0.0:
        with slot.held_out():
            contribution = score - _score(model, evaluate)
        measured = SeedMeasurement(slot=slot.name, contribution=contribution)
    slot.record_validation(score, measured)
    return score, contribution


def _runs(model: nn.Module, slot: SeedSlot, evaluate: Callable[[nn.Module], float]) -> bool:
    """Whether the slot is run when the model is evaluated."""
    passes: list[None] = []
    handle = slot.register_forward_hook(lambda *_: passes.append(None))
    try:
        evaluate(model)
    finally:
        handle.remove()
    return bool(passes)


def _unreached(slot: SeedSlot, *, reached: bool) -> KasminaError:
    start = f"no gradient reached the seed in slot '{slot.name}' while train(model) ran: "
    if reached:
        return KasminaError(
            f"{start}evaluate(model) runs the slot, so train has to run the model that it is "
            "given, and call backward; under checkpointing of frozen layers give "
            "use_reentrant=False"
        )
    return KasminaError(
        f"{start}evaluate(model) does not run the slot either, so choose a place that the "
        "forward pass reaches, and run the model that the functions are given"
    )


def _score(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float:
    returned = evaluate(model)
    try:
        score = float(returned)
    except (TypeError, ValueError, RuntimeError):
        score = math.nan
    # NaN is below no bound, so a seed of unknown worth would be kept.
    if not math.isfinite(score):
        raise KasminaError(
            f"evaluate returned {shown(returned)}; return one finite number, more is better"
        )
    return score


_GROWING = (SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING)


def _move_on(slot: SeedSlot, contribution: float, schedule: Schedule) -> str:
    """Gives the command that is due, and again each epoch while a gate refuses it."""
    due = {
        SeedStage.TRAINING: schedule.training,
        SeedStage.BLENDING: schedule.blending,
        SeedStage.HOLDING: schedule.holding,
    }[slot.stage]
    late = slot.state.epochs_in_stage - due
    if late < 0:
        return ""
    worth = f"contributes {contribution:+.2f} points"
    if slot.stage is SeedStage.HOLDING:
        if contribution <= schedule.min_contribution:
            slot.prune_now()
            return f"{worth}, and had to exceed {schedule.min_contribution:g}"
        result = slot.apply_command(Fossilize())
    else:
        result = slot.apply_command(Advance())
    if result.reason is not None and late >= schedule.patience:
        slot.prune_now()
    return result.reason or worth
