"""Writes views of runs as files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from esper_karn import Column, FittedTable, SafeConsole, TableVariant, format_count
from esper_leyline.errors import unknown_name
from esper_leyline.files.paths import check_file, check_folder_of, create_folders, name_flag
from esper_overwatch.commands.databases import open_named_runs
from esper_overwatch.commands.sql import csv_lines
from esper_overwatch.errors import OverwatchError

if TYPE_CHECKING:
    from esper_karn.analytics.database import RunsDatabase

Form = Literal["parquet", "csv"]


def export_runs(
    runs: Sequence[Path], to: Path, form: Form, tables: Sequence[str], console: SafeConsole
) -> None:
    """Writes a file for each table, and prints how many rows each has.

    Args:
        runs: Run directories.
        to: The folder; it is created. A file of the same name is replaced.
        form: Parquet keeps all types; CSV is that of ``esper-overwatch sql``.
        tables: Names of views; empty for all.
        console: Where to print.

    Raises:
        EsperError: If a run cannot be read, there is no such table, or a file cannot be written.
    """
    check_folder_of("--to", to)
    with open_named_runs(runs, "esper-overwatch export", writable=to) as database:
        from esper_karn.analytics.views import VIEWS

        for name in tables:
            if name not in VIEWS:
                raise OverwatchError(unknown_name("table", name, VIEWS))
        chosen = list(dict.fromkeys(tables)) or list(VIEWS)
        with name_flag("--to", to):
            create_folders(to)
        rows = [_export(database, name, to / f"{name}.{form}", form) for name in chosen]
    columns = [
        Column(head="file", cells=[str(to / f"{name}.{form}") for name in chosen], left=True),
        Column(head="rows", cells=[format_count(count) for count in rows]),
    ]
    console.print(FittedTable(TableVariant(columns=columns)))


def _export(database: RunsDatabase, view: str, path: Path, form: Form) -> int:
    with name_flag("--to", path):
        check_file(path)
        with _replacing(path) as partial:
            if form == "parquet":
                return database.write_parquet(view, partial)
            return _write_csv(database, view, partial)


def _write_csv(database: RunsDatabase, view: str, path: Path) -> int:
    count = -1  # the first line is the heading
    with path.open("w", encoding="utf-8") as file:
        for line in csv_lines(database.query(f"SELECT * FROM {view}")):  # noqa: S608
            file.write(f"{line}\n")
            count += 1
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` that takes its place once it is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
