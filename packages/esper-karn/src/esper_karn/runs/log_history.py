"""All lines of a run's log, from its file: a state keeps only the latest ones."""

from __future__ import annotations

import time
from bisect import bisect_right
from pathlib import Path

from esper_karn.log.reader import EventReader
from esper_karn.state.notices import NOTICE_KINDS, notice_of
from esper_karn.views.log import LogLine, has_text, log_line

KEPT = 100_000
"""Lines that are kept; of more, the oldest quarter is dropped."""

_CHECK_EVERY = 64
"""Lines between two looks at the clock."""


class LogHistory:
    """Every line of a log, oldest first. Its file is read in parts.

    Args:
        log: The log.

    Attributes:
        share: Share of the file that was read, in [0, 1].
        dropped: Number of old lines that are not kept.
    """

    def __init__(self, log: Path) -> None:
        self._path = log
        self._reader = EventReader(log, kinds=NOTICE_KINDS)
        self._restarts = 0
        self._lines: list[LogLine] = []
        self._text = ""
        self._matching: list[LogLine] = []
        self._compared = 0
        self.share = 0.0
        self.dropped = 0

    def close(self) -> None:
        """Closes the log."""
        self._reader.close()

    def read(self, seconds: float) -> None:
        """Reads on for at most some seconds.

        Raises:
            KarnError: If the log cannot be read.
        """
        until = time.monotonic() + seconds
        for count, event in enumerate(self._reader.read(), 1):
            if self._reader.restarts != self._restarts:
                self._restarts = self._reader.restarts
                self._clear()
            found = notice_of(event)
            if found is not None:
                self._lines.append(log_line(*found))
            if count % _CHECK_EVERY == 0 and time.monotonic() > until:
                break
        else:
            self.share = 1.0
            self._drop_oldest()
            return
        self._drop_oldest()
        position = self._reader.position
        if position is not None and self.share < 1.0:
            self.share = min(1.0, position.offset / max(1, self._path.stat().st_size))

    def latest(
        self, count: int, text: str = "", until: int | None = None
    ) -> tuple[tuple[LogLine, ...], int]:
        """Returns the latest lines, and the number of older ones.

        Args:
            count: The most lines to return.
            text: Only lines with this text.
            until: Sequence number of the last event; ``None`` for all.
        """
        lines = self._with(text)
        end = len(lines)
        if until is not None:
            end = bisect_right(lines, until, key=lambda line: line.sequence)
        start = max(0, end - count)
        return tuple(lines[start:end]), start

    def _with(self, text: str) -> list[LogLine]:
        """Returns the lines with a text; only new lines are compared again."""
        if not text:
            return self._lines
        if text != self._text:
            self._text, self._matching, self._compared = text, [], 0
        new = self._lines[self._compared :]
        self._matching += [line for line in new if has_text(line, text)]
        self._compared = len(self._lines)
        return self._matching

    def _drop_oldest(self) -> None:
        if len(self._lines) > KEPT:
            number = len(self._lines) - KEPT + KEPT // 4
            del self._lines[:number]
            self.dropped += number
            self._text, self._matching, self._compared = "", [], 0

    def _clear(self) -> None:
        self._lines, self._matching, self._compared = [], [], 0
        self.dropped, self.share = 0, 0.0
