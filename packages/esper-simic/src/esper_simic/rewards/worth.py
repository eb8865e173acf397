"""What each seed is counted to contribute: leave one out, capped at the joint gain.

Leaving seeds out one at a time counts what several achieve only together once for each
of them, so co-adapted seeds would be paid for more accuracy than there is. Where the
configuration without any seed was validated too, what all of them gain jointly is known,
and nobody is counted for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum

from esper_leyline import EpisodeEnd, SeedReport, SeedStage, StepReport
from esper_simic.rewards.measures import clip, finite

CONTRIBUTION_UNIT = 10.0
"""Percentage points of contribution that count as one."""

CONTRIBUTION_CLIP = 3.0
"""Most units that one seed is paid for, either way."""

BLENDED_STAGES = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})
"""Stages in which a seed changes what its host says."""

CAPPED = "capped_at_joint_gain"
"""Note: the contributions added up to more than the joint gain and were scaled down."""

UNCAPPED = "joint_gain_unmeasured"
"""Note: several seeds are counted, and nobody validated the host without them."""

_WHOLE = 100.0
"""Points that no contribution exceeds; a number beyond is no accuracy."""

_ROUNDING = 1e-9
"""Points by which sums of accuracies may differ for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What the blended seeds of one report are counted to contribute.

    Attributes:
        points: By slot, in percentage points of accuracy; only what was measured.
        notes: ``CAPPED`` or ``UNCAPPED``, where that is so.
    """

    points: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def units(self, slot: str) -> float:
        """Returns what a seed is paid for, in units and clipped; 0 if it was not measured."""
        share = self.points.get(slot, 0.0) / CONTRIBUTION_UNIT
        return clip(share, -CONTRIBUTION_CLIP, CONTRIBUTION_CLIP)


NOTHING = Worth()
"""Of a report in which no seed is counted."""


def count_worth(report: StepReport) -> Worth:
    """Returns what each seed of a report is counted for.

    With gain = f(all) - f(none), the positive contributions are scaled down, all by the
    same factor, until they and the negative ones add up to no more than the gain; by
    nothing but zero where even that is too much. The governor's report counts nothing:
    what it measured is undone.
    """
    if report.ended is EpisodeEnd.GOVERNOR:
        return NOTHING
    measured = {
        seed.slot: clip(contribution, -_WHOLE, _WHOLE)
        for seed in report.seeds
        if (contribution := _measured(seed)) is not None
    }
    gain = joint_gain(report)
    if gain is None:
        return Worth(points=measured, notes=(UNCAPPED,) if len(measured) > 1 else ())
    return _capped(measured, gain)


def joint_gain(report: StepReport) -> float | None:
    """Returns what all seeds gain together, in points; ``None`` where it is not known."""
    whole = finite(report.val_accuracy)
    bare = [finite(each.accuracy) for each in report.counterfactuals if not each.active]
    if whole is None or not bare or bare[0] is None:
        return None
    return whole - bare[0]


def _measured(seed: SeedReport) -> float | None:
    return finite(seed.contribution) if seed.stage in BLENDED_STAGES else None


def _capped(measured: Mapping[str, float], gain: float) -> Worth:
    claimed = fsum(points for points in measured.values() if points > 0)
    harm = fsum(-points for points in measured.values() if points < 0)
    room = max(gain + harm, 0.0)
    if claimed <= room + _ROUNDING:
        return Worth(points=measured)
    factor = room / claimed
    scaled = {slot: points * factor if points > 0 else points for slot, points in measured.items()}
    return Worth(points=scaled, notes=(CAPPED,))
