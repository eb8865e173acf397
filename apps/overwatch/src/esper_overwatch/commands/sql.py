"""Answers SQL queries over the events of runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from esper_karn import Column, FittedTable, SafeConsole, TableVariant, echo_all
from esper_leyline import printable
from esper_overwatch.commands.databases import open_database
from esper_overwatch.commands.values import csv_cell, plain, table_cell

if TYPE_CHECKING:
    from esper_karn.analytics.database import Result, RunsDatabase

Format = Literal["table", "csv", "json"]

MOST_ROWS = 1000
"""Rows of a table on a terminal."""

_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL")


def run_query(query: str, runs: Sequence[Path], form: Format, console: SafeConsole) -> None:
    """Prints the answer to a query.

    Args:
        query: One SQL statement that only reads.
        runs: Folders of runs, or runs.
        form: How to print it.
        console: Where to print a table.

    Raises:
        EsperError: If the query or a folder is wrong.
    """
    with open_database(runs, "esper-overwatch sql") as database:
        result = database.query(query)
        if form == "table":
            print_table(result, console)
        else:
            echo_all(csv_lines(result) if form == "csv" else json_lines(result))


def print_schema(runs: Sequence[Path], console: SafeConsole) -> None:
    """Prints every view with its columns.

    Raises:
        EsperError: If a folder is wrong.
    """
    with open_database(runs, "esper-overwatch sql") as database:
        for line in schema_lines(database):
            console.print(line, soft_wrap=not console.limited)


def schema_lines(database: RunsDatabase) -> Iterator[Text]:
    """Yields a heading for each view, and its columns with their types."""
    from esper_karn.analytics.views import VIEWS

    for number, (view, columns) in enumerate(database.schema().items()):
        yield Text(f"{'' if number == 0 else chr(10)}{view}", "bold").append(
            f": {VIEWS[view].about}", "not bold"
        )
        yield Text("  " + ", ".join(f"{name} {kind}" for name, kind in columns.items()), "dim")


def print_table(result: Result, console: SafeConsole) -> None:
    """Prints rows as a table that fits; on a terminal, the first ``MOST_ROWS``."""
    rows = list(islice(result.rows, MOST_ROWS) if console.limited else result.rows)
    cells = [[table_cell(value) for value in row] for row in rows]
    columns = [
        Column(
            head=name,
            cells=[row[place] for row in cells],
            rank=place,
            left=not any(each in kind for each in _NUMBERS) or kind.endswith("]"),
            fold=kind == "VARCHAR" and place > 0,
        )
        for place, (name, kind) in enumerate(zip(result.columns, result.types, strict=True))
    ]
    if columns:
        console.print(FittedTable(TableVariant(columns=columns)))
    if next(result.rows, None) is not None:
        console.print(Text(f"the first {MOST_ROWS} rows; --format csv prints all", "dim"))
    elif not rows:
        console.print(Text("no rows", "dim"))


def csv_lines(result: Result) -> Iterator[str]:
    """Yields lines of CSV. Characters that are not visible are escaped."""
    yield _csv(result.columns)
    for row in result.rows:
        yield _csv([csv_cell(value) for value in row])


def json_lines(result: Result) -> Iterator[str]:
    """Yields the lines of a JSON array with an object a row."""
    before = "["
    for row in result.rows:
        record = dict(zip(result.columns, map(plain, row), strict=True))
        yield before + json.dumps(record)
        before = ","
    yield "[]" if before == "[" else "]"


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(map(printable, cells))
    return line.getvalue()
