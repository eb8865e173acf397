"""The logs of a folder of runs as Parquet files, in a folder of their own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from esper_karn.analytics.log_part import LogPart
from esper_karn.analytics.manifest import (
    MANIFEST_FILE,
    CachedRun,
    Manifest,
    Segment,
    read_manifest,
    segment_sizes,
    write_manifest,
)
from esper_karn.analytics.staging import Staging, connect, copy_to_parquet
from esper_karn.analytics.tables import TABLES
from esper_karn.errors import KarnError
from esper_karn.log.mark import mark_of
from esper_karn.runs.folder import resolve_log
from esper_leyline import printable
from esper_leyline.events import SCHEMA_VERSION

MOST_SEGMENTS = 8
"""With more segments, the smallest ones are merged."""

KEPT_SECONDS = 3600.0
"""How long a segment is kept that is not used any more: another process may be reading it."""

_SEGMENT = "segment-"
_LOCK_FILE = "lock"


class CacheError(Exception):
    """The cache cannot be written; the message is the reason."""


@dataclass(slots=True)
class Cache:
    """The cache of one folder of runs.

    Args:
        path: Its own folder.
        folder: The folder of runs.
    """

    path: Path
    folder: Path

    def refresh(self, runs: Sequence[Path]) -> Manifest:
        """Reads what is new in the logs of runs.

        Args:
            runs: Run directories in the folder.

        Returns:
            What the cache holds now: all of ``runs``, and others that it held before.

        Raises:
            CacheError: If the cache cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._locked():
                try:
                    return self._refresh(runs)
                except (duckdb.IOException, duckdb.OutOfMemoryException):
                    raise
                except duckdb.Error:
                    # A file of the cache is damaged: it is read while segments are merged.
                    (self.path / MANIFEST_FILE).unlink(missing_ok=True)
                    return self._refresh(runs)
        except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise CacheError(_reason(error)) from error

    def clear(self) -> None:
        """Removes everything."""
        with suppress(OSError):
            shutil.rmtree(self.path)

    def files(self, manifest: Manifest, table: str) -> list[Path]:
        """Returns the files of a table."""
        return [self.path / name / f"{table}.parquet" for name in manifest.segments]

    def _refresh(self, runs: Sequence[Path]) -> Manifest:
        old = read_manifest(self.path)
        work = _Work()
        for run in runs:
            work.look_at(run, old.runs.get(printable(run.name)))
        others = {
            name: run
            for name, run in old.runs.items()
            if name in work.runs or (self.folder / name).is_dir()
        }
        new = Manifest(format=old.format, runs={**others, **work.runs}, segments=old.segments)
        if work.logs:
            new = self._read(work, new)
        if new != old or not (self.path / MANIFEST_FILE).exists():
            new = self._tidy(new)
            write_manifest(self.path, new)
            for name in set(old.segments) - set(new.segments):
                os.utime(self.path / name)  # it is not used from now on
        self._remove_unused(new)
        return new

    def _read(self, work: _Work, manifest: Manifest) -> Manifest:
        """Reads new lines into a new segment."""
        name = f"{_SEGMENT}{time.time_ns():x}-{secrets.token_hex(4)}"
        partial = self.path / f"{name}.partial"
        folder = self.path / name
        partial.mkdir()
        staging = Staging(
            partial, {run.key: run.last_sequence for run in work.runs.values() if run.events}
        )
        try:
            for run, log in work.logs.items():
                work.read(run, log, staging)
            written = staging.finish(partial / "tables")
            work.settle(staging, written, name)
            (partial / "tables").rename(folder)
        finally:
            staging.close()
            shutil.rmtree(partial, ignore_errors=True)
        segment = Segment(
            sizes=segment_sizes(folder), events=sum(count for count, _ in written.values())
        )
        return Manifest(
            format=manifest.format,
            runs={**manifest.runs, **work.runs},
            segments={**manifest.segments, name: segment},
        )

    def _tidy(self, manifest: Manifest) -> Manifest:
        """Drops segments without a living run, and merges small ones if there are many."""
        alive: dict[str, int] = {}
        for run in manifest.runs.values():
            for name, count in run.events.items():
                alive[name] = alive.get(name, 0) + count
        segments = {name: each for name, each in manifest.segments.items() if alive.get(name)}
        wasteful = [name for name, each in segments.items() if alive[name] * 2 < each.events]
        by_size = sorted(segments, key=lambda name: sum(segments[name].sizes.values()))
        excess = by_size[: 1 + len(by_size) - MOST_SEGMENTS // 2]
        merged = set(wasteful) | (set(excess) if len(segments) > MOST_SEGMENTS else set())
        manifest = Manifest(format=manifest.format, runs=manifest.runs, segments=segments)
        return self._merge(manifest, merged) if merged else manifest

    def _merge(self, manifest: Manifest, merged: set[str]) -> Manifest:
        name = f"{_SEGMENT}{time.time_ns():x}-{secrets.token_hex(4)}"
        partial, folder = self.path / f"{name}.partial", self.path / name
        partial.mkdir()
        keys = [run.key for run in manifest.runs.values()]
        try:
            (partial / "tables").mkdir()
            with connect(partial) as connection:
                connection.execute(
                    "CREATE TABLE living AS SELECT unnest($1::BIGINT[]) AS key", [keys]
                )
                for table in TABLES:
                    paths = [self.path / each / f"{table}.parquet" for each in sorted(merged)]
                    query = (
                        f"SELECT * FROM {parquet(paths)} WHERE key IN (SELECT key FROM living) "
                        "ORDER BY key, sequence"
                    )
                    copy_to_parquet(connection, query, partial / "tables" / f"{table}.parquet")
            (partial / "tables").rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        runs = {key: _moved(run, merged, name) for key, run in manifest.runs.items()}
        events = sum(run.events.get(name, 0) for run in runs.values())
        segments = {key: each for key, each in manifest.segments.items() if key not in merged}
        segments[name] = Segment(sizes=segment_sizes(folder), events=events)
        return Manifest(format=manifest.format, runs=runs, segments=segments)

    def _remove_unused(self, manifest: Manifest) -> None:
        for path in self.path.glob(f"{_SEGMENT}*"):
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > KEPT_SECONDS
                if path.name not in manifest.segments and old:
                    shutil.rmtree(path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets one process at a time refresh the cache; the others wait for what it reads."""
        descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class _Work:
    """What a refresh has to read.

    Attributes:
        runs: What is known of each run, by name.
        logs: The logs that have changed, by the name of their run.
    """

    runs: dict[str, CachedRun] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)

    def look_at(self, run: Path, known: CachedRun | None) -> None:
        """Finds out whether a run's log has changed."""
        name = printable(run.name)
        try:
            log = resolve_log(run)
            if known and known.mark and known.mark.is_current(log):
                self.runs[name] = known
                return
            if mark_of(log) is None:
                self.runs[name] = CachedRun(key=_new_key(), problem="it has no event log yet")
                return
        except KarnError as error:
            self.runs[name] = CachedRun(key=_new_key(), problem=str(error))
            return
        self.runs[name] = known or CachedRun(key=_new_key())
        self.logs[name] = log

    def read(self, name: str, log: Path, staging: Staging) -> None:
        """Stages the new lines of a log."""
        known = self.runs[name]
        part = LogPart(log, known.mark if known.problem is None else None)
        try:
            lines = part.lines()
            first = next(lines, b"")
            if not part.continued:
                known = CachedRun(key=_new_key())
            if first != b"":
                staging.add(known.key, [first])
                staging.add(known.key, lines)
        except KarnError as error:
            # Events of the part that was read are in no run.
            self.runs[name] = CachedRun(key=_new_key(), problem=str(error))
            return
        self.runs[name] = known.model_copy(update={"mark": part.mark})

    def settle(self, staging: Staging, written: dict[int, tuple[int, int]], segment: str) -> None:
        """Notes what was read of each log."""
        for name in self.logs:
            run = self.runs[name]
            changes: dict[str, object] = {
                "unread": run.unread + staging.unread.get(run.key, 0),
            }
            if run.key in written:
                count, last = written[run.key]
                changes["events"] = {**run.events, segment: count}
                changes["last_sequence"] = max(run.last_sequence, last)
            if run.key in staging.versions:
                changes["problem"] = (
                    f"its event log has schema version {staging.versions[run.key]}, and this "
                    f"Esper reads version {SCHEMA_VERSION}: read it with the Esper that wrote it, "
                    "or train again"
                )
                changes["events"] = {}
            self.runs[name] = run.model_copy(update=changes)


def cache_of(folder: Path, caches: Path) -> Cache:
    """Returns the cache of a folder of runs.

    Args:
        folder: The folder of runs.
        caches: The folder of all caches.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
    return Cache(caches / digest[:24], folder)


def parquet(paths: Sequence[Path]) -> str:
    """Returns SQL for the rows of Parquet files."""
    names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{names}])"


def _moved(run: CachedRun, merged: set[str], name: str) -> CachedRun:
    """Returns a run whose events in some segments are now in another one."""
    count = sum(events for segment, events in run.events.items() if segment in merged)
    rest = {segment: events for segment, events in run.events.items() if segment not in merged}
    return run.model_copy(update={"events": {**rest, name: count} if count else rest})


def _new_key() -> int:
    return secrets.randbits(62)


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0]
