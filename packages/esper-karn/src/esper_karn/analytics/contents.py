"""What a database of runs holds: the tables of their caches, and the views over them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from esper_karn.analytics.cache import Cache, cache_of, parquet
from esper_karn.analytics.manifest import CachedRun, Manifest
from esper_karn.analytics.payload_columns import literal
from esper_karn.analytics.source import ENVELOPE, Table
from esper_karn.analytics.tables import TABLES
from esper_karn.analytics.views import VIEWS
from esper_karn.runs.records import peek
from esper_leyline import printable

_LOCKED = (
    "autoinstall_known_extensions = FALSE",
    "autoload_known_extensions = FALSE",
    "enable_external_access = FALSE",
    "lock_configuration = TRUE",
)


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run in the database.

    Attributes:
        name: As in the column ``run`` of every view: the name of its directory.
        problem: Why its log cannot be read; ``None`` if it can.
        unread: Lines of its log that could not be read.
    """

    name: str
    path: Path
    problem: str | None
    unread: int


class Contents:
    """The caches of some runs, read as a database.

    Args:
        paths: The run directories.
        caches: The folder for caches.
        writable: A folder into which views may be written; ``None`` for none.

    Attributes:
        runs: The runs in the order of ``paths``.
    """

    def __init__(self, paths: tuple[Path, ...], caches: Path, writable: Path | None) -> None:
        self._paths = paths
        self._writable = writable
        self._caches = caches
        self._held: list[tuple[Cache, Manifest]] = []
        self._known: list[CachedRun] = []
        self.runs: tuple[OpenRun, ...] = ()

    def refresh(self) -> None:
        """Reads what is new in the logs.

        Raises:
            CacheError: If a cache cannot be written.
        """
        folders: dict[Path, list[Path]] = {}
        for path in self._paths:
            folders.setdefault(path.absolute().parent, []).append(path.absolute())
        self._held = []
        known: dict[Path, CachedRun] = {}
        for folder, paths in folders.items():
            cache = cache_of(folder, self._caches)
            manifest = cache.refresh(paths)
            self._held.append((cache, manifest))
            known.update({path: manifest.runs[printable(path.name)] for path in paths})
        self._known = [known[path.absolute()] for path in self._paths]
        self.runs = tuple(
            OpenRun(
                name=printable(path.absolute().name),
                path=path,
                problem=run.problem,
                unread=run.unread,
            )
            for path, run in zip(self._paths, self._known, strict=True)
        )

    def rebuild(self) -> None:
        """Reads all logs again."""
        for cache, _ in self._held:
            cache.clear()
        self.refresh()

    def are_readable(self) -> bool:
        """Whether every file of the caches can be read."""
        with duckdb.connect() as connection:
            try:
                for table in TABLES:
                    if files := self._files(table):
                        connection.execute(
                            f"SELECT count(hash(t)) FROM {parquet(files)} AS t"
                        ).fetchall()
            except duckdb.Error:
                return False
        return True

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Opens a database with the views, which can read no file but those of the caches."""
        connection = duckdb.connect()
        self._add_runs(connection)
        self._add_events(connection)
        kept = _kept(connection)
        for table in TABLES.values():
            self._add_table(connection, table, kept)
        self._add_open_ends(connection)
        for name, view in VIEWS.items():
            connection.execute(f"CREATE VIEW {name} AS {view.query}")
        allowed = [literal(str(path)) for table in TABLES for path in self._files(table)]
        connection.execute(f"SET allowed_paths = [{', '.join(allowed)}]")
        if self._writable is not None:
            folder = literal(f"{self._writable.absolute()}/")
            connection.execute(f"SET allowed_directories = [{folder}]")
        for setting in _LOCKED:
            connection.execute(f"SET {setting}")
        return connection

    def _add_runs(self, connection: duckdb.DuckDBPyConnection) -> None:
        columns = {
            "key": ("BIGINT", [run.key for run in self._known]),
            "run": ("VARCHAR", [run.name for run in self.runs]),
            "path": ("VARCHAR", [printable(str(run.path)) for run in self.runs]),
            "unread_lines": ("BIGINT", [run.unread for run in self.runs]),
            "problem": ("VARCHAR", [run.problem for run in self.runs]),
        }
        selected = ", ".join(
            f"unnest(${number}::{sql_type}[]) AS {name}"
            for number, (name, (sql_type, _)) in enumerate(columns.items(), 1)
        )
        connection.execute("CREATE SCHEMA cache")
        connection.execute(
            f"CREATE TABLE cache.runs AS SELECT {selected}",
            [values for _, values in columns.values()],
        )

    def _add_events(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Adds all events, and those that resumed a run."""
        every = self._select(connection, TABLES["events"])
        connection.execute(f"CREATE VIEW cache.all_events AS {every}")
        connection.execute(
            "CREATE TABLE cache.resumes AS SELECT key, sequence AS resumed_at, "
            "CAST(payload->>'$.rounds_completed' AS BIGINT) AS rounds_completed "
            "FROM cache.all_events WHERE kind = 'run_resumed'"
        )

    def _add_table(self, connection: duckdb.DuckDBPyConnection, table: Table, kept: str) -> None:
        """Adds a table of the events that a run did not take back by going on from before them."""
        every = self._select(connection, table)
        connection.execute(f"CREATE VIEW cache.{table.name} AS {every} {kept}")

    def _select(self, connection: duckdb.DuckDBPyConnection, table: Table) -> str:
        """Returns SQL that selects all rows of a table, with the names of their runs."""
        files = self._files(table.name)
        if not files:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS cache.no_{table.name} ({table.definition})"
            )
        source = parquet(files) if files else f"cache.no_{table.name}"
        columns = ", ".join(("key", "run", *list(ENVELOPE)[1:], *table.columns))
        return f"SELECT {columns} FROM {source} JOIN cache.runs USING (key)"

    def _add_open_ends(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Adds the status of the runs whose logs have no end, as a list of runs shows it."""
        ended = connection.execute(
            "SELECT key FROM cache.all_events "
            "WHERE kind IN ('run_started', 'run_resumed', 'run_completed', 'run_failed') "
            "GROUP BY key HAVING arg_max(kind, sequence) IN ('run_completed', 'run_failed')"
        ).fetchall()
        known, now = {key for (key,) in ended}, time.time()
        statuses = {
            run.key: peek(path).status_text(now)
            for run, path in zip(self._known, self._paths, strict=True)
            if run.key not in known
        }
        connection.execute(
            "CREATE TABLE cache.open_ends AS "
            "SELECT unnest($1::BIGINT[]) AS key, unnest($2::VARCHAR[]) AS status",
            [list(statuses), list(statuses.values())],
        )

    def _files(self, table: str) -> list[Path]:
        return [path for cache, manifest in self._held for path in cache.files(manifest, table)]


def _kept(connection: duckdb.DuckDBPyConnection) -> str:
    """Returns SQL that leaves out events of rounds that a resumed run trained again."""
    if connection.execute("SELECT count(*) FROM cache.resumes").fetchall() == [(0,)]:
        return ""
    return (
        "ANTI JOIN cache.resumes AS resumed ON runs.key = resumed.key "
        "AND sequence < resumed_at AND round > rounds_completed"
    )
