"""What a cache of logs holds, and its files."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from esper_karn.analytics.tables import TABLES, format_digest
from esper_karn.log.mark import LogMark
from esper_leyline import LeylineError, write_atomically
from esper_leyline.files.paths import read_regular
from esper_leyline.wire import Contract

MANIFEST_FILE = "manifest.json"
MANIFEST_LIMIT = 256 << 20
"""Largest manifest that is read, in bytes: about half a million runs."""


class CachedRun(Contract):
    """One run in a cache.

    Attributes:
        key: Identifies the run in the tables. It changes when the whole log is read again.
        mark: How far its log was read, ``None`` without a log.
        last_sequence: Of the last event that was read.
        unread: Lines that could not be read.
        problem: Why the log cannot be read; ``None`` if it can.
        events: Number of its events in each segment.
    """

    key: int
    mark: LogMark | None = None
    last_sequence: int = -1
    unread: int = 0
    problem: str | None = None
    events: dict[str, int] = Field(default_factory=dict)


class Segment(Contract):
    """A folder of the cache with a Parquet file of each table.

    Attributes:
        sizes: Of the file of each table, in bytes.
        events: Number of events, also of runs that have gone since.
    """

    sizes: dict[str, int]
    events: int


class Manifest(Contract):
    """What a cache holds.

    Attributes:
        format: Identifies the format of the tables.
        runs: By name.
        segments: By the name of their folder.
    """

    format: str
    runs: dict[str, CachedRun] = Field(default_factory=dict)
    segments: dict[str, Segment] = Field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Reads what a cache holds; a broken one, or one of another format, holds nothing."""
    empty = Manifest(format=format_digest())
    try:
        found = Manifest.model_validate_json(read_regular(folder / MANIFEST_FILE, MANIFEST_LIMIT))
    except (OSError, LeylineError, ValidationError):
        return empty
    if found.format != empty.format:
        return empty
    broken = {name for name in found.segments if not _is_whole(folder, name, found.segments[name])}
    return without_segments(found, broken) if broken else found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest of a cache.

    Raises:
        OSError: If it cannot be written.
    """
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json().encode())


def without_segments(manifest: Manifest, segments: set[str]) -> Manifest:
    """Returns the manifest without some segments, and without the runs that are in them."""
    return Manifest(
        format=manifest.format,
        runs={name: run for name, run in manifest.runs.items() if not segments & set(run.events)},
        segments={name: each for name, each in manifest.segments.items() if name not in segments},
    )


def _is_whole(folder: Path, name: str, segment: Segment) -> bool:
    try:
        return segment.sizes == segment_sizes(folder / name)
    except OSError:
        return False


def segment_sizes(folder: Path) -> dict[str, int]:
    """Returns the size of the file of each table in bytes.

    Raises:
        OSError: If one is missing.
    """
    return {table: (folder / f"{table}.parquet").stat().st_size for table in TABLES}
