"""Follows a run: its state now, and as it was after any of its events."""

from __future__ import annotations

import time
from pathlib import Path

from esper_karn.log.mark import digest_ends, mark_of
from esper_karn.log.reader import EventReader, Problem, ReadPosition, unreadable
from esper_karn.snapshots.snapshot import Snapshot
from esper_karn.snapshots.store import SnapshotStore
from esper_karn.state.reducer import Folding
from esper_karn.state.run import RunState
from esper_leyline import LeylineError, open_regular
from esper_leyline.events import Event

EVERY = 10_000
"""Events between two snapshots, so the largest number that is folded to go to a moment."""

CHECK_EVERY = 256
"""Events between two looks at the clock."""


class RunReader:
    """The state of a run, from its log.

    Opening a log folds the events after its latest snapshot. A log that was replaced is read from
    its start, under another ``stream``.

    Args:
        log: The log; it need not exist yet.
        snapshots: Folder of the snapshots of all runs; ``None`` to keep none.

    Raises:
        KarnError: If the log cannot be read; so do the methods.
    """

    def __init__(self, log: Path, snapshots: Path | None = None) -> None:
        self._log = log
        self._store = None if snapshots is None else SnapshotStore(snapshots, log)
        found = self._store.latest() if self._store else None
        self._reader = EventReader(log, start=found.position if found else None)
        self._folding = Folding(found.state if found else None)
        self._due = (self._folding.sequence + 1) // EVERY + 1
        self._restarts = 0
        self._inode = 0
        self._replay: _Replay | None = None
        self._caught_up = True

    def close(self) -> None:
        """Closes the log."""
        self._reader.close()
        if self._replay is not None:
            self._replay.close()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stream(self) -> str:
        """Names the file that was read; another one voids all that was known before."""
        return f"{self._inode:x}.{self._restarts}"

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The first lines that could not be read since the run was opened."""
        return self._reader.problems

    @property
    def share(self) -> float:
        """Share of the log that was read, in [0, 1]: below 1 while a long one is being opened."""
        position = self._reader.position
        try:
            size = self._log.stat().st_size
        except OSError:
            return 1.0
        if position is None or not size or self._caught_up:
            return 1.0
        return min(1.0, position.offset / size)

    def read(self, seconds: float | None = None) -> RunState:
        """Reads what was added to the log; returns the state after its latest event.

        Args:
            seconds: After this time, stop although there is more; ``None`` reads to the end.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self._caught_up = True
        for count, event in enumerate(self._reader.read(), 1):
            self._start_again_if_replaced()
            self._folding.take(event)
            if self._folding.sequence >= self._due * EVERY - 1:
                self._keep()
            if until is not None and count % CHECK_EVERY == 0 and time.monotonic() > until:
                self._caught_up = False
                break
        self._start_again_if_replaced()
        self._look_at_file()
        return self._folding.state()

    def read_at(self, sequence: int) -> RunState:
        """Returns the state after an event; after the last one if the log does not reach so far.

        Going on from the moment before folds only what is between.

        Args:
            sequence: Sequence number of the event; -1 for the state before the first.
        """
        replay = self._replay
        if replay is None or not replay.reaches(sequence):
            if replay is not None:
                replay.close()
            found = self._store.latest(sequence) if self._store and sequence >= 0 else None
            replay = self._replay = _Replay(self._log, found)
        return replay.state_at(sequence)

    def _start_again_if_replaced(self) -> None:
        if self._reader.restarts != self._restarts:
            self._restarts = self._reader.restarts
            self._folding, self._due = Folding(), 1
            if self._replay is not None:
                self._replay.close()
                self._replay = None

    def _keep(self) -> None:
        """Writes a snapshot, unless the position in the log is not known: then the next one is."""
        position = self._reader.position
        if position is None:
            return
        self._due = (self._folding.sequence + 1) // EVERY + 1
        if self._store is None or self._store.has(self._folding.sequence):
            return
        snapshot = _snapshot(self._log, self._folding.state(), position)
        if snapshot is not None:
            self._store.write(snapshot)

    def _look_at_file(self) -> None:
        try:
            self._inode = self._log.stat().st_ino
        except OSError:
            return


def _snapshot(log: Path, state: RunState, position: ReadPosition) -> Snapshot | None:
    mark = mark_of(log)
    if mark is None or mark.size < position.offset:
        return None
    try:
        with open_regular(log) as file:
            digest = digest_ends(file, position.offset)
    except (OSError, LeylineError) as error:
        raise unreadable(log, error) from error
    mark = mark.model_copy(update={"offset": position.offset, "digest": digest})
    return Snapshot(state=state, mark=mark, line=position.line)


class _Replay:
    """The state of a run at a moment, from where one may go on."""

    def __init__(self, log: Path, found: Snapshot | None) -> None:
        self._reader = EventReader(log, start=found.position if found else None)
        self._events = self._reader.read()
        self._folding = Folding(found.state if found else None)
        self._next: Event | None = None

    def reaches(self, sequence: int) -> bool:
        """Whether it is quicker to go on from here than from a snapshot."""
        ahead = sequence - self._folding.sequence
        return 0 <= ahead <= EVERY and self._reader.restarts == 0

    def state_at(self, sequence: int) -> RunState:
        """Goes on to an event."""
        while (event := self._upcoming()) is not None and event.sequence <= sequence:
            self._folding.take(event)
            self._next = None
        return self._folding.state()

    def close(self) -> None:
        """Closes the log."""
        self._reader.close()

    def _upcoming(self) -> Event | None:
        """Returns the next event without taking it, ``None`` at the end of the log."""
        if self._next is None:
            self._next = next(self._events, None)
            if self._next is None:
                self._events = self._reader.read()  # a later call finds what is added until then
        return self._next
