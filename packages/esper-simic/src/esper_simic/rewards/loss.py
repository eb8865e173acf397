"""The family ``loss``: rewards for a lower validation loss. They use no counterfactual."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from esper_leyline import RewardConfig, SeedReport, SeedStage, StepReport
from esper_simic.rewards.ledger import EpisodeLedger
from esper_simic.rewards.measurement import BLENDED_STAGES, alpha_of, clip, paired_seeds
from esper_simic.rewards.step import Step
from esper_simic.rewards.terminal import crash

LOSS_CAP = 12.0
"""Losses in nats are clipped here."""


def progress(step: Step) -> float:
    """Rewards a drop of the loss; a rise is a negative reward.

    The discounted sum over any part of an episode depends on its first and last loss only, so a
    loop that ends where it began earns nothing, and late improvements count as much as early ones.
    """
    return horizon_value(step, loss_drop(step))


def horizon_value(step: Step, nats: float) -> float:
    """Returns weight * gamma^(epochs to come) * nats, the value of a drop at the horizon.

    However a drop is distributed over epochs, the discounted sum of its rewards is the same.
    """
    return step.config.loss_weight * step.gamma ** (step.epochs_left - 1) * nats


def loss_drop(step: Step) -> float:
    """Returns the drop of the loss in nats, negative for a rise; 0 if it was not measured.

    The loss is clipped, not its change: otherwise a spike would cost less than its recovery earns.
    A drop that a rollback undoes does not count.
    """
    before, after = clipped_loss(step.previous), clipped_loss(step.current)
    if before is None or after is None:
        return 0.0
    drop = before - after
    return min(drop, 0.0) if step.crashed else drop


def clipped_loss(report: StepReport) -> float | None:
    """Returns the validation loss clipped to [0, ``LOSS_CAP``]; ``None`` if it was not measured."""
    loss = report.val_loss
    return None if loss is None or math.isnan(loss) else clip(loss, 0.0, LOSS_CAP)


@dataclass(frozen=True, slots=True)
class _Balance:
    """The drop in nats that still holds, and the part of it that was paid."""

    held: float = 0.0
    paid: float = 0.0


class SustainedLossDrop:
    """Pays a drop in equal parts over the epochs left, as long as it lasts.

    A rise takes back what was paid for the drop that it undoes; the rest of the rise is charged at
    once. At the horizon a drop that still holds has been paid in full. A loop earns no more than
    waiting, because less of a later drop is paid.
    """

    def __init__(self) -> None:
        self._ledger = EpisodeLedger[_Balance]()

    def __call__(self, step: Step) -> float:
        """Returns the reward of this step."""
        balance = self._ledger.get(step.previous) or _Balance()
        drop = loss_drop(step)
        held = max(balance.held + drop, 0.0)
        excess = min(balance.held + drop, 0.0)
        kept = balance.paid * min(held / balance.held, 1.0) if balance.held else 0.0
        paid = kept + (held - kept) / step.epochs_left
        self._ledger.put(step.current, _Balance(held, paid))
        reward = excess + paid - balance.paid
        return horizon_value(step, min(reward, 0.0) if step.crashed else reward)


class EscrowedLossDrop:
    """Rewards drops of the committed loss.

    The committed loss is the loss of the last epoch in which no live seed took part. While a seed
    is on trial it keeps its value, and what the trial changed counts when the seed is fossilized
    or gone. If the episode ends during a trial, a drop is lost and a rise is charged.
    """

    def __init__(self) -> None:
        self._committed = _CommittedLoss()

    def __call__(self, step: Step) -> float:
        """Returns the reward of this step."""
        before, after = self._committed.update(step)
        if before.committed is None or after.committed is None:
            return 0.0
        return horizon_value(step, before.committed - after.committed)


class FinalLossDrop:
    """Rewards the relative drop of the committed loss when the episode ends.

    Args:
        weight: Returns the weight of a configuration.
    """

    def __init__(self, weight: Callable[[RewardConfig], float]) -> None:
        self._weight = weight
        self._committed = _CommittedLoss()

    def __call__(self, step: Step) -> float:
        """Returns weight * (first - last) / first, clipped to [-1, 1], in the last step."""
        _, after = self._committed.update(step)
        if step.current.ended is None or step.crashed:
            return crash(step)
        return self._weight(step.config) * _relative_drop(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Losses:
    """First and committed loss of an episode in nats; ``None`` if not measured yet."""

    first: float | None
    committed: float | None


class _CommittedLoss:
    """Tracks the committed loss of each environment's episode."""

    def __init__(self) -> None:
        self._ledger = EpisodeLedger[_Losses]()

    def update(self, step: Step) -> tuple[_Losses, _Losses]:
        """Returns the losses before and after a step; without earlier steps it starts here."""
        before = self._ledger.get(step.previous)
        if before is None:
            loss = clipped_loss(step.previous)
            on_trial = any(_uncommitted(seed) for seed in step.previous.seeds)
            before = _Losses(first=loss, committed=None if on_trial else loss)
        after = _next_losses(before, step)
        self._ledger.put(step.current, after)
        return before, after


def _next_losses(before: _Losses, step: Step) -> _Losses:
    loss, committed = clipped_loss(step.current), before.committed
    if loss is None:
        return before
    first = loss if before.first is None else before.first
    if not (step.crashed or _on_trial(step)):
        return _Losses(first=first, committed=loss)
    if step.current.ended is None or committed is None:
        return _Losses(first=first, committed=committed)
    return _Losses(first=first, committed=max(committed, loss))


def _on_trial(step: Step) -> bool:
    """Whether a live seed took part in the last validation.

    Reports describe seeds at the end of the epoch. A seed was validated with the alpha of the
    report before, unless the action pruned it at once.
    """
    return any(
        _uncommitted(before) and alpha_of(before) > 0 and (_uncommitted(after) or before.pruning)
        for before, after in paired_seeds(step.previous, step.current)
    )


def _uncommitted(seed: SeedReport) -> bool:
    return seed.stage in BLENDED_STAGES and seed.stage is not SeedStage.FOSSILIZED


def _relative_drop(losses: _Losses) -> float:
    first, last = losses.first, losses.committed
    return 0.0 if not first or last is None else clip((first - last) / first, -1.0, 1.0)
