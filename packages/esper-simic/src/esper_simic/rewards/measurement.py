"""What rewards read from reports: safe numbers, contributions, and inflated contributions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum

from esper_leyline import EpisodeEnd, SeedReport, SeedStage, StepReport

CLEARLY_POSITIVE = 1.0
"""Contribution in points from which a seed counts in full, and should not be pruned."""

CONTRIBUTION_UNIT = 10.0
"""Percentage points of contribution that count as one unit."""

CONTRIBUTION_CLIP = 3.0
"""Largest contribution in units, positive or negative, that is rewarded."""

INFLATED_RISE = 1.0
"""Points by which an inflated contribution rises."""

INFLATED_DROP = 2.0
"""Points by which the host's accuracy falls in the same epoch."""

BLENDED_STAGES = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})
"""Stages in which a seed changes the output of its host."""

CAPPED = "capped_at_joint_gain"
"""Note: the contributions added up to more than the joint gain and were scaled down."""

UNCAPPED = "joint_gain_unmeasured"
"""Note: several seeds have contributions, but the host without seeds was not validated."""

_EMPTY_SLOT = SeedReport(slot="r0c0")
"""In place of a slot that a report does not have."""

_LARGEST = 100.0
"""Bound of contributions in points."""

_ROUNDING = 1e-9
"""Points of difference that come from rounding sums."""


def finite(value: float | None) -> float | None:
    """Returns a finite number, or ``None`` if it is missing, NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None


def clip(value: float, low: float, high: float) -> float:
    """Returns ``value`` clipped to [``low``, ``high``]."""
    return min(max(value, low), high)


def alpha_of(seed: SeedReport) -> float:
    """Returns a seed's blend strength between 0 and 1; 0 if it is not finite."""
    return clip(finite(seed.alpha) or 0.0, 0.0, 1.0)


def grown_share(report: StepReport, parameters: int, floor: int) -> float:
    """Returns parameters divided by the host's parameters, which count at least ``floor``."""
    return max(parameters, 0) / max(report.host_parameters, floor, 1)


def paired_seeds(
    previous: StepReport, current: StepReport
) -> Iterator[tuple[SeedReport, SeedReport]]:
    """Yields each slot before and after the step."""
    before = {seed.slot: seed for seed in previous.seeds}
    for seed in current.seeds:
        yield before.get(seed.slot, _EMPTY_SLOT), seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """The contributions of one report's blended seeds that rewards use.

    Attributes:
        points: By slot, in percentage points of accuracy; only measured ones.
        notes: ``CAPPED`` or ``UNCAPPED``, if that is the case.
    """

    points: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def units(self, slot: str) -> float:
        """Returns a seed's contribution in units, clipped; 0 if it was not measured."""
        share = self.points.get(slot, 0.0) / CONTRIBUTION_UNIT
        return clip(share, -CONTRIBUTION_CLIP, CONTRIBUTION_CLIP)


NO_CONTRIBUTIONS = Contributions()
"""Of a report in which no contribution counts."""


def count_contributions(report: StepReport) -> Contributions:
    """Returns the contributions of a report: leave one out, capped at the joint gain.

    Leaving seeds out one at a time counts what several achieve only together once for each of
    them. So with the joint gain f(all) - f(none), positive contributions are multiplied by one
    factor between 0 and 1, so that all contributions add up to no more than the gain. The last
    report before a rollback counts nothing, because the rollback undoes what it measured.
    """
    if report.ended is EpisodeEnd.GOVERNOR:
        return NO_CONTRIBUTIONS
    measured = {
        seed.slot: clip(contribution, -_LARGEST, _LARGEST)
        for seed in report.seeds
        if (contribution := _measured(seed)) is not None
    }
    gain = joint_gain(report)
    if gain is None:
        return Contributions(points=measured, notes=(UNCAPPED,) if len(measured) > 1 else ())
    return _capped(measured, gain)


def joint_gain(report: StepReport) -> float | None:
    """Returns the gain of all seeds together in points; ``None`` if it was not measured."""
    whole = finite(report.val_accuracy)
    bare = [finite(each.accuracy) for each in report.counterfactuals if not each.active]
    if whole is None or not bare or bare[0] is None:
        return None
    return whole - bare[0]


def find_inflated(previous: StepReport, current: StepReport) -> tuple[str, ...]:
    """Returns the slots whose contribution is inflated, row-major.

    A contribution is inflated if it rises while the host's accuracy falls: the host relies more
    on the seed although nothing was gained. A first measurement is not a rise.
    """
    if _accuracy_drop(previous, current) < INFLATED_DROP:
        return ()
    return tuple(
        after.slot
        for before, after in paired_seeds(previous, current)
        if _contribution_rise(before, after) >= INFLATED_RISE
    )


def _measured(seed: SeedReport) -> float | None:
    return finite(seed.contribution) if seed.stage in BLENDED_STAGES else None


def _capped(measured: Mapping[str, float], gain: float) -> Contributions:
    positive = fsum(points for points in measured.values() if points > 0)
    negative = fsum(-points for points in measured.values() if points < 0)
    limit = max(gain + negative, 0.0)
    if positive <= limit + _ROUNDING:
        return Contributions(points=measured)
    factor = limit / positive
    scaled = {slot: points * factor if points > 0 else points for slot, points in measured.items()}
    return Contributions(points=scaled, notes=(CAPPED,))


def _accuracy_drop(previous: StepReport, current: StepReport) -> float:
    before, after = finite(previous.val_accuracy), finite(current.val_accuracy)
    return 0.0 if before is None or after is None else before - after


def _contribution_rise(before: SeedReport, after: SeedReport) -> float:
    old, new = finite(before.contribution), finite(after.contribution)
    if old is None or new is None or after.stage not in BLENDED_STAGES:
        return 0.0
    return new - old
