"""Which events a log holds, to find the missing ones of a truncated file."""

from __future__ import annotations


class WrittenEvents:
    """The sequence numbers of a log's lines, as ranges in the order of the lines."""

    def __init__(self) -> None:
        self._ranges: list[range] = []

    def add(self, first: int, count: int) -> None:
        """Adds ``count`` lines with sequence numbers from ``first`` on."""
        if self._ranges and self._ranges[-1].stop == first:
            first, count = self._ranges[-1].start, count + len(self._ranges.pop())
        self._ranges.append(range(first, first + count))

    def keep(self, lines: int) -> tuple[int, int] | None:
        """Keeps the first lines and drops the others.

        Returns:
            Sequence number of the first dropped event, and the number of dropped events;
            ``None`` if none was dropped.
        """
        kept: list[range] = []
        lost: list[range] = []
        for each in self._ranges:
            kept.append(each[:lines])
            lost.append(each[lines:])
            lines = max(0, lines - len(each))
        self._ranges = [each for each in kept if each]
        lost = [each for each in lost if each]
        return (lost[0].start, sum(map(len, lost))) if lost else None

    @property
    def first(self) -> int | None:
        """Sequence number of the first line; ``None`` without any."""
        return self._ranges[0].start if self._ranges else None
