"""A series of any length in a fixed number of buckets with minimum, maximum and mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

CAPACITY = 128
"""Largest number of buckets of a series; a full series merges them in pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Consecutive samples of a series.

    Attributes:
        first: Position of the first sample, for example the number of a round.
        last: Position of the last sample.
        samples: Number of samples.
        finite: Number of samples that are neither NaN nor infinite.
        minimum: Smallest finite sample, ``None`` without one.
        maximum: Largest finite sample, ``None`` without one.
        total: Sum of the finite samples.
    """

    first: int
    last: int
    samples: int
    finite: int
    minimum: float | None
    maximum: float | None
    total: float

    @property
    def mean(self) -> float | None:
        """Mean of the finite samples."""
        return self.total / self.finite if self.finite else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A scalar over rounds or epochs, at full resolution first and coarser as it grows.

    Attributes:
        buckets: At most ``CAPACITY``, oldest first; all but the last hold ``stride`` samples.
        stride: Samples per bucket.
        latest: The last sample, also if NaN or infinite.
    """

    buckets: tuple[Bucket, ...] = ()
    stride: int = 1
    latest: float | None = None

    def add(self, position: int, value: float | None) -> Series:
        """Returns the series with one more sample; ``None`` adds none."""
        if value is None:
            return self
        sample = _sample(position, value)
        buckets, stride = self.buckets, self.stride
        if buckets and buckets[-1].samples < stride:
            buckets = (*buckets[:-1], _merge(buckets[-1], sample))
            return replace(self, buckets=buckets, latest=value)
        if len(buckets) == CAPACITY:
            pairs = zip(buckets[::2], buckets[1::2], strict=True)
            buckets, stride = tuple(_merge(left, right) for left, right in pairs), stride * 2
        return Series(buckets=(*buckets, sample), stride=stride, latest=value)


def _sample(position: int, value: float) -> Bucket:
    finite = math.isfinite(value)
    return Bucket(
        first=position,
        last=position,
        samples=1,
        finite=int(finite),
        minimum=value if finite else None,
        maximum=value if finite else None,
        total=value if finite else 0.0,
    )


def _merge(left: Bucket, right: Bucket) -> Bucket:
    return Bucket(
        first=left.first,
        last=right.last,
        samples=left.samples + right.samples,
        finite=left.finite + right.finite,
        minimum=min((m for m in (left.minimum, right.minimum) if m is not None), default=None),
        maximum=max((m for m in (left.maximum, right.maximum) if m is not None), default=None),
        total=left.total + right.total,
    )
