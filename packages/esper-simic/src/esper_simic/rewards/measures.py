"""Reading reports safely: what was not measured, or is not finite, is not there."""

from __future__ import annotations

import math
from collections.abc import Iterator

from esper_leyline import SeedReport, StepReport

CLEARLY_POSITIVE = 1.0
"""Points of contribution from which a seed counts in full, and should not be pruned."""

EMPTY_SLOT = SeedReport(slot="r0c0")
"""Stands for a slot that a report does not mention."""


def finite(value: float | None) -> float | None:
    """Returns a measured number, or ``None`` for a missing, NaN or infinite one."""
    return value if value is not None and math.isfinite(value) else None


def clip(value: float, low: float, high: float) -> float:
    """Returns ``value`` moved into [``low``, ``high``]."""
    return min(max(value, low), high)


def alpha_of(seed: SeedReport) -> float:
    """Returns a seed's blend strength between 0 and 1; 0 where it is not finite."""
    return clip(finite(seed.alpha) or 0.0, 0.0, 1.0)


def grown_share(report: StepReport, parameters: int, floor: int) -> float:
    """Returns parameters relative to the host's, the host counting at least ``floor``."""
    return max(parameters, 0) / max(report.host_parameters, floor, 1)


def paired_seeds(
    previous: StepReport, current: StepReport
) -> Iterator[tuple[SeedReport, SeedReport]]:
    """Yields each slot before and after the step."""
    before = {seed.slot: seed for seed in previous.seeds}
    for seed in current.seeds:
        yield before.get(seed.slot, EMPTY_SLOT), seed
