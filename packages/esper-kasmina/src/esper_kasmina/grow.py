"""One seed's whole life in anybody's training loop, by a fixed schedule.

For those who want a model to grow and have no controller: germinate, train in isolation,
blend in, hold, measure, and keep the seed if it is worth its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from esper_kasmina.errors import KasminaError
from esper_kasmina.observation import GradientObserver
from esper_kasmina.optimizers import seed_slots, sync_optimizer
from esper_kasmina.slot import SeedSlot
from esper_leyline import (
    ACTIVE_STAGES,
    Advance,
    AnyBlueprint,
    BlendStyle,
    Fossilize,
    Germinate,
    SeedMeasurement,
    SeedStage,
    SlotCommand,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a seed stays in each stage, and what it must be worth.

    Attributes:
        training: Epochs in isolation, at least 1.
        blending: Epochs of the ramp to full strength.
        holding: Epochs at full strength before it is judged, at least 1.
        patience: Epochs that a gate may stay shut after its time before the seed is pruned.
        min_contribution: What the model's score must owe it to be kept, in points.
        style: How it is blended in.
    """

    training: int = 3
    blending: int = 3
    holding: int = 2
    patience: int = 5
    min_contribution: float = 0.0
    style: BlendStyle = BlendStyle.LINEAR_ADD

    def __post_init__(self) -> None:
        """Checks every number.

        Raises:
            KasminaError: If one of them is too small, or the bound is no number.
        """
        for name, least in {"training": 1, "blending": 0, "holding": 1, "patience": 0}.items():
            value = getattr(self, name)
            if value < least:
                raise KasminaError(f"{name} is {value}; give at least {least}")
        if math.isnan(self.min_contribution):
            raise KasminaError("min_contribution is nan; give a number of points, such as 0.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What became of a seed.

    Attributes:
        slot: Where it grew.
        blueprint: What it was.
        fossilized: Whether it was kept.
        reason: Why, in a few words.
        parameters: What it added, 0 if it was pruned.
        contribution: The score with it minus the score without it, in points, when it was
            judged.
        score: Of the model at the end, in points.
        epochs: How long that took.
    """

    slot: str
    blueprint: AnyBlueprint
    fossilized: bool
    reason: str
    parameters: int
    contribution: float
    score: float
    epochs: int


def grow(  # noqa: PLR0917 - it reads as a sentence
    model: nn.Module,
    slot: str,
    blueprint: AnyBlueprint,
    optimizer: Optimizer,
    train: Callable[[nn.Module], object],
    evaluate: Callable[[nn.Module], float],
    *,
    schedule: Schedule | None = None,
    seed_options: Mapping[str, Any] | None = None,
    scheduler: Any = None,
) -> Growth:
    """Grows one seed from germination to its judgement, inside your own training loop.

    Args:
        model: Any model with slots: grafted, built, or with a ``SeedSlot`` in it.
        slot: A dormant slot.
        blueprint: What to grow.
        optimizer: Trains the model; the seed's parameters join it and, if it is pruned,
            leave it, and no other parameter's state is touched.
        train: Trains the model for one epoch with ``optimizer``. It may clear gradients
            before ``backward`` or after ``step``, accumulate, clip and scale them.
        evaluate: Returns the model's score on validation data, in points (accuracy in
            percent, say): more is better.
        schedule: How long and how well; ``None`` takes the defaults.
        seed_options: In what the seed's parameter group differs from its host's, such as
            ``{"lr_scale": 0.5}``; see ``sync_optimizer``.
        scheduler: The optimizer's learning-rate scheduler, which ``train`` steps, or a
            wrapper of it. It follows the seed's group; most are found without this.

    Raises:
        KasminaError: If the slot is not there, is not dormant, the blueprint does not fit
            it, ``train`` or ``evaluate`` cannot be called, ``evaluate`` returns no finite
            number, or no gradient reached the seed in an epoch; the seed is pruned then.
    """
    _check_loop(train, evaluate)
    chosen = schedule or Schedule()
    place = _find(model, slot)
    # Before the birth, so that an optimizer that is none leaves the slot as it was.
    sync = partial(sync_optimizer, optimizer, model, seed_options, scheduler=scheduler)
    sync()
    germinate = Germinate(blueprint=blueprint, style=chosen.style, tempo=chosen.blending)
    _command(place, germinate)
    _command(place, Advance())
    epochs, score, contribution, reason = 0, 0.0, 0.0, ""
    while place.live:
        sync()
        with GradientObserver(optimizer, model, [place]) as observed:
            train(model)
        if observed.missing:
            reached = _runs(model, place, evaluate)
            place.prune_now()
            sync()
            raise _unreached(place, reached=reached)
        epochs += 1
        score, contribution = _measure(model, place, evaluate)
        place.tick()
        reason = _move_on(place, contribution, chosen)
    sync()
    kept = place.stage is SeedStage.FOSSILIZED
    return Growth(
        slot=slot,
        blueprint=blueprint,
        fossilized=kept,
        reason=reason,
        parameters=place.report().parameters,
        contribution=contribution,
        score=score if kept else score - contribution,
        epochs=epochs,
    )


def _check_loop(train: object, evaluate: object) -> None:
    for name, part in (("train", train), ("evaluate", evaluate)):
        if not callable(part):
            raise KasminaError(
                f"{name} is {part!r}, which cannot be called; give a function that takes the model"
            )


def _find(model: nn.Module, name: str) -> SeedSlot:
    slots = {slot.name: slot for slot in seed_slots(model)}
    if name not in slots:
        there = ", ".join(slots) or "none"
        raise KasminaError(f"the model has no slot '{name}'; there are: {there}")
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
            f"evaluate returned {returned!r}; return one finite number, more is better"
        )
    return score


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
