"""Measures the parts of a round's time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds by part."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._parts: defaultdict[str, float] = defaultdict(float)

    @property
    def elapsed(self) -> float:
        """Seconds since this stopwatch was made."""
        return time.perf_counter() - self._begin

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part so far."""
        return dict(self._parts)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time spent inside to a part."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._parts[part] += time.perf_counter() - begin

    def add(self, seconds: Mapping[str, float], prefix: str) -> None:
        """Adds parts that were measured elsewhere, with ``prefix`` before their names."""
        for part, spent in seconds.items():
            self._parts[f"{prefix}{part}"] += spent
