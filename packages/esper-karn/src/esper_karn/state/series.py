"""A series of any length in a fixed number of buckets with minimum, maximum and mean."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from pydantic import ConfigDict

from esper_leyline.wire import WIRE_CONFIG, Float

CAPACITY = 128
"""Largest number of buckets of a series, unless it is made with another capacity."""

CHART_CAPACITY = 512
"""Buckets of a series that is drawn over a whole screen."""

_BUCKET = struct.Struct("<IIIIIddd")
_LARGEST = 2**32 - 1
_NONE = math.nan

_AT, _LAST, _SAMPLES, _VALUES = 0, 2, 3, 4
"""Where a packed bucket holds its event, its last position, its samples, and what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Consecutive samples of a series.

    Attributes:
        at: Sequence number of the event that changed it last.
        first: Position of the first sample, for example the number of a round.
        last: Position of the last sample.
        samples: Number of samples.
        finite: Number of samples that are neither NaN nor infinite.
        minimum: Smallest finite sample, ``None`` without one.
        maximum: Largest finite sample, ``None`` without one.
        total: Sum of the finite samples.
    """

    at: int
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

    A full series merges its buckets in pairs. Positions increase: a sample at or before the last
    one is left out, because a run that continues from a checkpoint repeats it.

    Attributes:
        packed: The buckets, oldest first; all but the last hold ``stride`` samples.
        stride: Samples per bucket.
        latest: The last sample, also if NaN or infinite.
        capacity: Largest number of buckets, even.
        at: Sequence number of the event that changed it last, -1 before the first.
    """

    __pydantic_config__ = ConfigDict(
        **WIRE_CONFIG, ser_json_bytes="base64", val_json_bytes="base64"
    )

    packed: bytes = b""
    stride: int = 1
    latest: Float | None = None
    capacity: int = CAPACITY
    at: int = -1

    def __len__(self) -> int:
        """Number of buckets."""
        return len(self.packed) // _BUCKET.size

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """At most ``capacity`` buckets, oldest first."""
        return self.buckets_from(0)

    def buckets_from(self, start: int) -> tuple[Bucket, ...]:
        """Returns the buckets from index ``start`` on."""
        return tuple(
            Bucket(
                at=at,
                first=first,
                last=last,
                samples=samples,
                finite=finite,
                minimum=low if finite else None,
                maximum=high if finite else None,
                total=total,
            )
            for at, first, last, samples, finite, low, high, total in _BUCKET.iter_unpack(
                self.packed[start * _BUCKET.size :]
            )
        )

    def unchanged_until(self, sequence: int) -> int:
        """Returns how many of the first buckets are as they were after event ``sequence``."""
        number = len(self)
        while number and _BUCKET.unpack_from(self.packed, (number - 1) * _BUCKET.size)[0] > (
            sequence
        ):
            number -= 1
        return number

    def add(self, position: int, value: float | None, at: int = 0) -> Series:
        """Returns the series with one more sample; ``None`` adds none.

        Args:
            position: Of the sample, for example the number of a round.
            value: The sample, in the unit of the series.
            at: Sequence number of the event.
        """
        if value is None:
            return self
        draft = SeriesDraft(self)
        draft.add(position, value, at)
        return draft.freeze()

    def rewind(self, position: int, at: int) -> Series:
        """Returns the series without the buckets that begin after ``position``.

        A bucket that spans it is kept whole: the samples that it holds are not added again.
        """
        end = len(self.packed)
        while end and _BUCKET.unpack_from(self.packed, end - _BUCKET.size)[1] > position:
            end -= _BUCKET.size
        if end == len(self.packed):
            return self
        kept = self.packed[:end]
        finite, *_, total = _BUCKET.unpack_from(kept, end - _BUCKET.size)[4:] if kept else (0, 0.0)
        return Series(
            packed=kept,
            stride=self.stride,
            latest=total / finite if finite else None,
            capacity=self.capacity,
            at=_clamped(at),
        )


class SeriesDraft:
    """A series that is being made: samples are added in place, several times faster.

    Args:
        series: What it starts from.
    """

    __slots__ = ("_at", "_capacity", "_frozen", "_full", "_last", "_latest", "_stride")

    def __init__(self, series: Series) -> None:
        end = len(series.packed) - _BUCKET.size
        self._full = bytearray(series.packed[: max(end, 0)])
        self._last = list(_BUCKET.unpack_from(series.packed, end)) if end >= 0 else None
        self._stride, self._capacity = series.stride, series.capacity
        self._latest, self._at = series.latest, series.at
        self._frozen: Series | None = series

    def add(self, position: int, value: float, at: int) -> None:
        """Adds one sample; see ``Series.add``."""
        if not (0 <= position <= _LARGEST and 0 <= at <= _LARGEST):
            position, at = _clamped(position), _clamped(at)
        row = self._last
        if row is not None:
            if position <= row[_LAST]:
                return
            if row[_SAMPLES] < self._stride:
                row[_AT], row[_LAST], row[_SAMPLES] = at, position, row[_SAMPLES] + 1
                row[_VALUES:] = _merged(tuple(row[_VALUES:]), _sample(value))
                self._latest, self._at, self._frozen = value, at, None
                return
            self._full += _BUCKET.pack(*row)
            if len(self._full) >= self._capacity * _BUCKET.size:
                self._full, self._stride = bytearray(_halved(self._full, at)), self._stride * 2
        self._last = [at, position, position, 1, *_sample(value)]
        self._latest, self._at, self._frozen = value, at, None

    def freeze(self) -> Series:
        """Returns the series; the same object as before if nothing was added since."""
        if self._frozen is None:
            last = b"" if self._last is None else _BUCKET.pack(*self._last)
            self._frozen = Series(
                packed=bytes(self._full) + last,
                stride=self._stride,
                latest=self._latest,
                capacity=self._capacity,
                at=self._at,
            )
        return self._frozen


_Values = tuple[int, float, float, float]
"""Finite samples, their minimum, maximum and sum."""


def _sample(value: float) -> _Values:
    return (1, value, value, value) if math.isfinite(value) else (0, _NONE, _NONE, 0.0)


def _merged(left: _Values, right: _Values) -> _Values:
    if not left[0] or not right[0]:
        return left if left[0] else right
    return (
        left[0] + right[0],
        min(left[1], right[1]),
        max(left[2], right[2]),
        left[3] + right[3],
    )


def _halved(packed: bytes | bytearray, at: int) -> bytes:
    rows = list(_BUCKET.iter_unpack(packed))
    return b"".join(
        _BUCKET.pack(at, left[1], right[2], left[3] + right[3], *_merged(left[4:], right[4:]))
        for left, right in zip(rows[::2], rows[1::2], strict=True)
    )


def _clamped(number: int) -> int:
    """Returns a number that a bucket can hold; a log may hold any."""
    return min(max(number, 0), _LARGEST)
