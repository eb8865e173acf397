"""Pay for what a seed is measured to contribute, and for nothing else.

A seed's contribution is the accuracy that would be lost without it, so the host's own
progress is in no payment. Two payments are made of it:

- A *fossilized* seed earns its contribution every epoch, a harmful one's being a loss.
- A seed that is blended in, committed or not, is credited a share of its contribution,
  where that is positive, as a potential: paid once when the contribution shows, taken
  back when it goes. Over any loop it sums to nothing, so waiting, turning alpha up and
  down, and blending only to prune earn nothing; committing is what pays, epoch by epoch.
"""

from __future__ import annotations

from esper_leyline import EpisodeEnd, RewardConfig, SeedReport, SeedStage, StepReport
from esper_simic.rewards.measures import clip, finite, paired_seeds

CONTRIBUTION_UNIT = 10.0
"""Percentage points of contribution that count as one."""

CONTRIBUTION_CLIP = 3.0
"""Most units that one seed is paid for, either way."""

FOSSIL_RATE = 0.15
"""Pay an epoch for one unit of a fossilized seed's contribution."""

REFERENCE_EPOCHS = 20
"""Longer episodes spread the same total pay and rent over their epochs."""

RANSOM_RISE = 1.0
"""Points by which a seed's contribution rises when it makes itself indispensable."""

RANSOM_DROP = 2.0
"""Points by which the whole gets worse meanwhile."""

_BLENDED = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})


def epoch_share(report: StepReport) -> float:
    """Returns how much one epoch of this episode counts for payments made every epoch."""
    return min(1.0, REFERENCE_EPOCHS / max(report.max_epochs, 1))


def attribution(
    previous: StepReport, current: StepReport, config: RewardConfig, gamma: float
) -> tuple[float, tuple[str, ...]]:
    """Returns the pay for contributions, and a ``ransom:<slot>`` flag where it was withheld.

    A seed whose contribution rises by ``RANSOM_RISE`` while accuracy falls by
    ``RANSOM_DROP`` gets nothing for that step, but still bears a loss.
    """
    paid, flags = 0.0, []
    worse = _drop(previous, current) >= RANSOM_DROP
    for before, after in paired_seeds(previous, current):
        due = _fossil_pay(after, current)
        due += gamma * _credit(after, current, config) - _credit(before, previous, config)
        if worse and _rise(before, after) >= RANSOM_RISE:
            flags.append(f"ransom:{after.slot}")
            due = min(due, 0.0)
        paid += due
    return config.attribution_weight * paid, tuple(flags)


def _units(seed: SeedReport) -> float:
    contribution = finite(seed.contribution) or 0.0
    return clip(contribution / CONTRIBUTION_UNIT, -CONTRIBUTION_CLIP, CONTRIBUTION_CLIP)


def _fossil_pay(seed: SeedReport, report: StepReport) -> float:
    if seed.stage is not SeedStage.FOSSILIZED or report.ended is EpisodeEnd.GOVERNOR:
        return 0.0
    return FOSSIL_RATE * epoch_share(report) * _units(seed)


def _credit(seed: SeedReport, report: StepReport, config: RewardConfig) -> float:
    if seed.stage not in _BLENDED or report.ended is EpisodeEnd.GOVERNOR:
        return 0.0
    return config.attribution_live_share * max(_units(seed), 0.0)


def _drop(previous: StepReport, current: StepReport) -> float:
    before, after = finite(previous.val_accuracy), finite(current.val_accuracy)
    return 0.0 if before is None or after is None else before - after


def _rise(before: SeedReport, after: SeedReport) -> float:
    old, new = finite(before.contribution), finite(after.contribution)
    if old is None or new is None or after.stage not in _BLENDED:
        return 0.0
    return new - old
