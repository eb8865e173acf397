"""The governor: when a host counts as unstable. It decides; the episode rolls back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, pstdev

from esper_leyline import GovernorCause, GovernorConfig

LEARNED_SHARE = 0.8
"""A host has learned once its validation loss was below this share of ln(classes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one epoch showed of a host.

    Attributes:
        train_loss: Mean over the epoch's training batches, in nats.
        val_loss: Mean over the validation rows, in nats.
        parameters_finite: Whether every parameter is a finite number.
    """

    train_loss: float
    val_loss: float
    parameters_finite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Why a host must be rolled back.

    Attributes:
        loss: The validation loss, or the training loss where that one is broken.
        threshold: What the loss was compared with, ``None`` if with nothing.
    """

    cause: GovernorCause
    loss: float
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the governor keeps of an episode.

    Attributes:
        losses: Validation losses of the epochs that raised no suspicion.
        suspicions: Epochs in a row whose loss looked like divergence.
    """

    losses: tuple[float, ...] = ()
    suspicions: int = 0


def judge(
    reading: Reading, memory: Memory, *, classes: int, config: GovernorConfig
) -> tuple[Memory, Alarm | None]:
    """Judges one epoch.

    - Non-finite: a loss or a parameter is NaN or infinite. At once.
    - Return to chance: the best validation loss so far was below ``LEARNED_SHARE`` of
      ln(classes), now it is within ``chance_margin`` of ln(classes), and the training loss
      is no further below. At once. Asking for both keeps a validation pass that batch-norm
      statistics spoilt from ending an episode; a loss far above chance is divergence.
    - Divergence: the validation loss is above ``divergence_threshold``,
      ``divergence_patience`` times running.

    Returns:
        The memory to judge the next epoch with, and the alarm if there is one.
    """
    loss = reading.val_loss
    if not (reading.parameters_finite and math.isfinite(reading.train_loss + loss)):
        shown = loss if math.isfinite(reading.train_loss) else reading.train_loss
        return memory, Alarm(cause=GovernorCause.NON_FINITE, loss=shown, threshold=None)
    chance = (1.0 - config.chance_margin) * math.log(classes)
    if has_learned(memory, classes) and _at_chance(reading, classes, config):
        return memory, Alarm(cause=GovernorCause.RETURN_TO_CHANCE, loss=loss, threshold=chance)
    limit = divergence_threshold(memory, config)
    if loss <= limit:
        return Memory(losses=(*memory.losses, loss)), None
    suspicious = Memory(losses=memory.losses, suspicions=memory.suspicions + 1)
    if suspicious.suspicions < config.divergence_patience:
        return suspicious, None
    return suspicious, Alarm(cause=GovernorCause.DIVERGENCE, loss=loss, threshold=limit)


def has_learned(memory: Memory, classes: int) -> bool:
    """Whether a host ever was clearly better than guessing."""
    return min(memory.losses, default=math.inf) < LEARNED_SHARE * math.log(classes)


def divergence_threshold(memory: Memory, config: GovernorConfig) -> float:
    """Returns the loss above which an epoch looks like divergence.

    The largest of the absolute limit, mean plus so many standard deviations, and a
    multiple of the mean, over the losses that raised no suspicion; the absolute limit
    alone where there are none.
    """
    if not memory.losses:
        return config.divergence_loss
    mean = fmean(memory.losses)
    spread = mean + config.divergence_sigmas * pstdev(memory.losses, mu=mean)
    return max(config.divergence_loss, spread, config.divergence_factor * mean)


def _at_chance(reading: Reading, classes: int, config: GovernorConfig) -> bool:
    level = math.log(classes)
    margin = config.chance_margin * level
    return abs(reading.val_loss - level) <= margin and reading.train_loss >= level - margin


class Governor:
    """Judges one host's epochs in order."""

    def __init__(self, classes: int, config: GovernorConfig) -> None:
        self._classes = classes
        self._config = config
        self._memory = Memory()

    @property
    def suspicious(self) -> bool:
        """Whether the last epoch looked like divergence, so that its host is no good one."""
        return self._memory.suspicions > 0

    def observe(self, reading: Reading) -> Alarm | None:
        """Takes in one epoch; returns an alarm where the host must be rolled back."""
        self._memory, alarm = judge(
            reading, self._memory, classes=self._classes, config=self._config
        )
        return alarm
