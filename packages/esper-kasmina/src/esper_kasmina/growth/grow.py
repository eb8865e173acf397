"""Grows one seed inside a user's training loop: from its germination until it is kept or pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from esper_kasmina.errors import KasminaError
from esper_kasmina.growth.checks import (
    check_empty,
    check_functions,
    check_has_run,
    check_has_seed,
    check_schedule,
    check_score,
    check_trains_model,
    find_slot,
    no_gradient_error,
    no_step_error,
)
from esper_kasmina.growth.schedule import Growth, Schedule
from esper_kasmina.optim.gradient_observer import GradientObserver
from esper_kasmina.optim.groups import sync_optimizer
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.parallel import check_not_wrapped
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import ACTIVE_STAGES, Advance, Fossilize, Germinate, SeedMeasurement, SeedStage
from esper_leyline.commands import SlotCommand


def grow(  # noqa: PLR0917 - positional arguments keep a call short
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
    """Grows one seed inside your own training loop, and keeps it if it raises the score.

    In each epoch it calls ``train(model)``, then ``evaluate(model)``. When the seed is blended in,
    it calls ``evaluate(model)`` once more with the slot empty; the difference is the seed's
    contribution. The stages and their gates are those of ``esper_leyline.advance``. In TRAINING
    the outputs and gradients of the host are the same as without the seed. The seed gets the
    gradient at the host's output by a straight-through estimator (Bengio et al. 2013), and starts
    as the identity, because its scale is 0 (ReZero, Bachlechner et al. 2021).

    If there is an error or an interruption, the slot is made empty again and the seed's parameters
    are removed from the optimizer. The training of other parameters is not undone. The call can
    then be repeated.

    Args:
        model: Any model with slots: grafted, built by ``build_host``, or with a ``SeedSlot`` in
            it. The slots of a grafted model know their activations after a forward pass, or if
            ``graft`` was given ``example_inputs``.
        slot: The id of a DORMANT slot, such as ``"r0c0"``.
        blueprint: The name of a blueprint.
        optimizer: Trains the model. The seed's parameters are added to it as a group of their
            own, and removed if the seed is pruned. The state of other parameters is not changed.
        train: Trains the model that it is given for one epoch with ``optimizer``, and sets the
            mode (``model.train()``). What it returns is ignored. It may clear gradients before
            ``backward`` or after ``step``, accumulate, clip and scale them.
        evaluate: Returns the model's score on validation data as one finite number or a tensor of
            one number, and sets the mode (``model.eval()``). A higher score is better; return the
            negative of a loss. Contributions and ``Schedule.min_contribution`` have its unit:
            percentage points if it is an accuracy in percent.
        schedule: How long the seed stays in each stage; ``None`` takes the defaults.
        seed_options: Options in which the seed's parameter group differs from its host's, such as
            ``{"lr_scale": 0.5}``; see ``sync_optimizer``.
        scheduler: The optimizer's learning-rate scheduler, which ``train`` steps, or a wrapper of
            it. Most schedulers are found without it.

    Returns:
        Whether the seed was kept, why, and what it contributed.

    Raises:
        KasminaError: If the slot does not exist or is not DORMANT, the blueprint does not fit it,
            the optimizer trains nothing of the model or cannot take a group, an argument has the
            wrong type, ``train`` or ``evaluate`` does not take the model, ``evaluate`` returns no
            finite number, no gradient reached the seed in an epoch, or ``optimizer`` made no step
            in one.
    """
    check_functions(train, evaluate)
    schedule = check_schedule(schedule)
    empty_slot = find_slot(model, slot)
    check_not_wrapped(model)
    # Before the germination, so that an error about the optimizer leaves the slot empty.
    sync = partial(sync_optimizer, optimizer, model, seed_options, scheduler=scheduler)
    sync()
    check_trains_model(unwrap_optimizer(optimizer), model)
    check_empty(empty_slot)
    before = empty_slot.snapshot()
    try:
        germinate = Germinate(blueprint=blueprint, style=schedule.style, tempo=schedule.blending)
        _apply(empty_slot, germinate)
        _apply(empty_slot, Advance())
        task = _GrowthTask(model, empty_slot, train, evaluate, schedule)
        growth = task.run(optimizer, sync)
    except BaseException:
        empty_slot.restore(before)
        sync()
        raise
    return growth


@dataclass(frozen=True, slots=True)
class _GrowthTask:
    """The growth of a seed that is in TRAINING, until it is kept or pruned."""

    model: nn.Module
    slot: SeedSlot
    train: Callable[[nn.Module], object]
    evaluate: Callable[[nn.Module], float]
    schedule: Schedule

    def run(self, optimizer: Optimizer, sync: Callable[[], None]) -> Growth:
        """Trains the model epoch by epoch.

        Args:
            optimizer: Trains the model.
            sync: Adds the seed's parameters to the optimizer, or removes them.
        """
        slot = self.slot
        blueprint = slot.state.blueprint
        assert blueprint is not None
        epochs, score, contribution, reason = 0, 0.0, 0.0, ""
        while slot.live:
            sync()
            self._train_one_epoch(optimizer)
            epochs += 1
            score, contribution = self._measure()
            check_has_seed(slot)
            slot.tick()
            reason = self._advance(contribution)
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

    def _train_one_epoch(self, optimizer: Optimizer) -> None:
        with GradientObserver(optimizer, self.model, [self.slot]) as observer:
            check_has_run(self.train(self.model))
        check_has_seed(self.slot)
        if observer.missing:
            raise no_gradient_error(self.slot, evaluate_runs_slot=self._evaluate_runs_slot())
        if observer.no_step:
            raise no_step_error(optimizer)

    def _measure(self) -> tuple[float, float]:
        """Records the validation; returns the score and the seed's contribution to it."""
        slot = self.slot
        score = check_score(self.evaluate(self.model))
        contribution = 0.0
        measurement = None
        if slot.stage in ACTIVE_STAGES and slot.alpha > 0.0:
            with slot.held_out():
                contribution = score - check_score(self.evaluate(self.model))
            measurement = SeedMeasurement(slot=slot.name, contribution=contribution)
        slot.record_validation(score, measurement)
        return score, contribution

    def _evaluate_runs_slot(self) -> bool:
        passes: list[None] = []
        handle = self.slot.register_forward_hook(lambda *_: passes.append(None))
        try:
            self.evaluate(self.model)
        finally:
            handle.remove()
        return bool(passes)

    def _advance(self, contribution: float) -> str:
        """Gives the next command once the stage's epochs are over, and again if a gate refuses it.

        Returns:
            The reason of the seed's present state; empty during a stage.
        """
        slot, schedule = self.slot, self.schedule
        epochs = {
            SeedStage.TRAINING: schedule.training,
            SeedStage.BLENDING: schedule.blending,
            SeedStage.HOLDING: schedule.holding,
        }[slot.stage]
        epochs_over = slot.state.epochs_in_stage - epochs
        if epochs_over < 0:
            return ""
        contributes = f"contributes {_show(contribution)} points"
        if slot.stage is SeedStage.HOLDING:
            if contribution <= schedule.min_contribution:
                slot.prune_now()
                return f"{contributes}, and had to exceed {schedule.min_contribution:g}"
            result = slot.apply_command(Fossilize())
        else:
            result = slot.apply_command(Advance())
        if result.reason is not None and epochs_over >= schedule.patience:
            slot.prune_now()
        return result.reason or contributes


def _show(contribution: float) -> str:
    """Returns a contribution with two decimals, or with two digits if these would be 0."""
    rounded = f"{contribution:+.2f}"
    return rounded if float(rounded) or not contribution else f"{contribution:+.2g}"


def _apply(slot: SeedSlot, command: SlotCommand) -> None:
    result = slot.apply_command(command)
    if not result.accepted:
        raise KasminaError(f"slot '{slot.name}' does not {command.kind}: {result.reason}")
