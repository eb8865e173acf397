"""The governor: detects unstable hosts. The episode does the rollback."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, pstdev

from esper_leyline import GovernorCause
from esper_leyline.config.host import GovernorConfig

LEARNED_SHARE = 0.8
"""A host has learned once its validation loss was below this fraction of ln(classes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStats:
    """The measurements of one epoch that the governor checks.

    Attributes:
        train_loss: Mean over the epoch's training batches, in nats.
        val_loss: Mean over the validation rows, in nats.
        parameters_finite: Whether every parameter is a finite number.
    """

    train_loss: float
    val_loss: float
    parameters_finite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instability:
    """Why a host is rolled back.

    Attributes:
        loss: The validation loss, or the training loss if that one is not finite.
        threshold: The limit that the loss exceeded; ``None`` if there is no limit.
    """

    cause: GovernorCause
    loss: float
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LossHistory:
    """The losses of an episode so far.

    Attributes:
        losses: Validation losses of the epochs below the divergence threshold.
        above: Consecutive epochs above it.
    """

    losses: tuple[float, ...] = ()
    above: int = 0


def check(
    stats: EpochStats, history: LossHistory, *, classes: int, config: GovernorConfig
) -> tuple[LossHistory, Instability | None]:
    """Checks one epoch.

    The first two conditions end the episode at once:

    - Non-finite: a loss or a parameter is NaN or infinite.
    - Return to chance: the best validation loss so far was below ``LEARNED_SHARE`` of
      ln(classes), now it is within ``chance_margin`` of ln(classes), and the training loss
      is not below that range either. Both losses are checked, so that a validation pass with bad
      batch-norm statistics does not end an episode. A loss far above chance is divergence.
    - Divergence: the validation loss is above ``divergence_threshold``
      in ``divergence_patience`` consecutive epochs.

    Returns:
        The history for the next epoch, and the instability if there is one.
    """
    loss = stats.val_loss
    if not (stats.parameters_finite and math.isfinite(stats.train_loss + loss)):
        shown = loss if math.isfinite(stats.train_loss) else stats.train_loss
        return history, Instability(cause=GovernorCause.NON_FINITE, loss=shown, threshold=None)
    chance = (1.0 - config.chance_margin) * math.log(classes)
    if has_learned(history, classes) and _at_chance(stats, classes, config):
        return history, Instability(
            cause=GovernorCause.RETURN_TO_CHANCE, loss=loss, threshold=chance
        )
    limit = divergence_threshold(history, config)
    if loss <= limit:
        return LossHistory(losses=(*history.losses, loss)), None
    suspicious = LossHistory(losses=history.losses, above=history.above + 1)
    if suspicious.above < config.divergence_patience:
        return suspicious, None
    return suspicious, Instability(cause=GovernorCause.DIVERGENCE, loss=loss, threshold=limit)


def has_learned(history: LossHistory, classes: int) -> bool:
    """Whether the host was ever clearly better than guessing."""
    return min(history.losses, default=math.inf) < LEARNED_SHARE * math.log(classes)


def divergence_threshold(history: LossHistory, config: GovernorConfig) -> float:
    """Returns the divergence threshold in nats.

    The maximum of three limits: the absolute limit, the mean plus ``divergence_sigmas`` standard
    deviations, and a multiple of the mean. Mean and deviation are over the losses so far; without
    losses only the absolute limit counts.
    """
    if not history.losses:
        return config.divergence_loss
    mean = fmean(history.losses)
    spread = mean + config.divergence_sigmas * pstdev(history.losses, mu=mean)
    return max(config.divergence_loss, spread, config.divergence_factor * mean)


def _at_chance(stats: EpochStats, classes: int, config: GovernorConfig) -> bool:
    level = math.log(classes)
    margin = config.chance_margin * level
    return abs(stats.val_loss - level) <= margin and stats.train_loss >= level - margin


class Governor:
    """Checks the epochs of one host in order."""

    def __init__(self, classes: int, config: GovernorConfig) -> None:
        self._classes = classes
        self._config = config
        self._history = LossHistory()

    @property
    def suspicious(self) -> bool:
        """Whether the last epoch was above the divergence threshold; no snapshot is taken then."""
        return self._history.above > 0

    def observe(self, stats: EpochStats) -> Instability | None:
        """Checks one epoch; returns the instability if the host must be rolled back."""
        self._history, instability = check(
            stats, self._history, classes=self._classes, config=self._config
        )
        return instability
