"""Opens runs as a database that only reads, and answers queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from esper_karn.analytics.cache import CacheError
from esper_karn.analytics.contents import Contents, OpenRun
from esper_karn.analytics.query_errors import check_query, describe_error
from esper_karn.analytics.staging import copy_to_parquet
from esper_karn.analytics.views import VIEWS
from esper_karn.errors import KarnError
from esper_leyline import printable

ROWS_AT_ONCE = 1024
"""Rows that a result fetches at a time."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query.

    Attributes:
        columns: Names.
        types: SQL types.
        rows: Read as they are asked for.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class RunsDatabase:
    """Runs as views of an SQL database (DuckDB). It reads no other file and changes nothing.

    Attributes:
        warning: Why the cache cannot be used; ``None`` if it can.
    """

    def __init__(self, contents: Contents, warning: str | None = None) -> None:
        self._contents = contents
        self._connection = self._connect()
        self.warning = warning

    @property
    def runs(self) -> tuple[OpenRun, ...]:
        """The runs in the order in which they were named."""
        return self._contents.runs

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Result:
        """Answers one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

        Args:
            sql: One statement.
            parameters: Values for ``?`` in it.

        Raises:
            KarnError: If it is another statement, or it fails; one line.
        """
        try:
            check_query(self._connection, sql)
            try:
                return self._answer(sql, parameters)
            except duckdb.Error:
                if self._contents.are_readable():
                    raise
                self._connection.close()
                self._contents.rebuild()
                self._connection = self._connect()
                return self._answer(sql, parameters)
        except duckdb.Error as error:
            raise self._failure(error, sql) from error

    def records(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[dict[str, Any]]:
        """Yields the rows of the answer to a query as dictionaries by column.

        Raises:
            KarnError: As ``query``.
        """
        result = self.query(sql, parameters)
        for row in result.rows:
            yield dict(zip(result.columns, row, strict=True))

    def write_parquet(self, view: str, path: Path) -> int:
        """Writes a view as a Parquet file; returns its number of rows.

        Args:
            view: One of ``VIEWS``.
            path: In the folder that ``open_runs`` was given as ``writable``.

        Raises:
            KarnError: If it cannot be written.
        """
        try:
            return copy_to_parquet(self._connection, f"SELECT * FROM {view}", path)
        except duckdb.Error as error:
            raise KarnError(f"cannot write '{path}': {' '.join(str(error).split())}") from error

    def schema(self) -> dict[str, dict[str, str]]:
        """Returns the SQL type of each column of each view."""
        found = self._connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'main' ORDER BY ordinal_position"
        ).fetchall()
        types: dict[str, dict[str, str]] = {view: {} for view in VIEWS}
        for view, name, sql_type in found:
            types[view][name] = sql_type
        return types

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Opens the database; a cache that cannot be read is rebuilt first."""
        try:
            return self._contents.connect()
        except duckdb.Error:
            if self._contents.are_readable():
                raise
        self._contents.rebuild()
        return self._contents.connect()

    def _answer(self, sql: str, parameters: Sequence[object]) -> Result:
        cursor = self._connection.cursor()
        cursor.execute(sql, list(parameters))
        described = cursor.description or []
        return Result(
            columns=tuple(each[0] for each in described),
            types=tuple(str(each[1]) for each in described),
            rows=self._rows(cursor, cursor.fetchmany(ROWS_AT_ONCE), sql),
        )

    def _rows(
        self, cursor: duckdb.DuckDBPyConnection, first: list[tuple[Any, ...]], sql: str
    ) -> Iterator[tuple[Any, ...]]:
        rows = first
        while rows:
            yield from rows
            try:
                rows = cursor.fetchmany(ROWS_AT_ONCE)
            except duckdb.Error as error:
                raise self._failure(error, sql) from error

    def _failure(self, error: duckdb.Error, sql: str) -> KarnError:
        columns = {view: tuple(types) for view, types in self.schema().items()}
        return KarnError(describe_error(str(error), sql, columns))


@contextmanager
def open_runs(
    runs: Sequence[Path], caches: Path, *, writable: Path | None = None
) -> Iterator[RunsDatabase]:
    """Opens runs as a database; what is new in their logs is read into a cache first.

    Args:
        runs: Run directories, also of several folders.
        caches: The folder for caches; each folder of runs has one in it.
        writable: A folder into which views may be written; no other file can be.

    Raises:
        KarnError: If two runs have the same name, or there is no room for temporary files.
    """
    _check_names(runs)
    warning = None
    with ExitStack() as stack:
        contents = Contents(tuple(runs), caches, writable)
        try:
            contents.refresh()
        except CacheError as error:
            warning = (
                f"cannot use the cache in '{caches}': {error}; "
                "without it every command reads the logs again"
            )
            folder = stack.enter_context(TemporaryDirectory(prefix="esper-"))
            contents = Contents(tuple(runs), Path(folder), writable)
            try:
                contents.refresh()
            except CacheError as again:
                raise KarnError(f"cannot read the logs: {again}") from again
        database = RunsDatabase(contents, warning)
        stack.callback(database.close)
        yield database


def _check_names(runs: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for run in runs:
        name = printable(run.absolute().name)
        if name in seen:
            raise KarnError(
                f"'{seen[name]}' and '{run}' have the same name; name each run once, and copies "
                "under another name"
            )
        seen[name] = run
