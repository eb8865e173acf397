"""Turns lines of logs into the rows of tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import duckdb

from esper_karn.analytics.source import ENVELOPE
from esper_karn.analytics.tables import TABLES
from esper_leyline.events import PAYLOADS, SCHEMA_VERSION
from esper_leyline.run_files import MAX_LINE

BATCH_BYTES = 64 << 20
"""Bytes of lines that are turned into rows at a time."""

_SEPARATOR = b"\x1f"

_EVENT = {
    "schema_version": "INTEGER",
    "monotonic": "DOUBLE",
    "sequence": "BIGINT",
    "boot": "INTEGER",
    "wall_time": "DOUBLE",
    "round": "INTEGER",
    "environment": "INTEGER",
    "epoch": "INTEGER",
    "coalesced": "BIGINT",
    "group": "VARCHAR",
    "payload": "JSON",
}

_STAGE = f"""
CREATE OR REPLACE TEMP TABLE staged AS
SELECT key, e.sequence AS sequence, coalesce(e.boot, 0) AS boot,
    TRY(make_timestamp(CAST(e.wall_time * 1000000 AS BIGINT))) AS time,
    e.monotonic IS NOT NULL AND e.wall_time IS NOT NULL AS whole,
    e.round AS round, e.environment AS environment, e.epoch AS epoch,
    coalesce(e.coalesced, 0) AS coalesced, e."group" AS run_group,
    e.payload AS payload, e.payload->>'$.kind' AS kind,
    coalesce(e.schema_version, {SCHEMA_VERSION}) AS version
FROM (
    SELECT key, json_transform(
        CASE WHEN json_valid(line) THEN line END, '{json.dumps(_EVENT)}'
    ) AS e
    FROM read_csv(
        $file, delim='\x1f', quote='', escape='', comment='', header=FALSE, auto_detect=FALSE,
        null_padding=FALSE, max_line_size={MAX_LINE + 64},
        columns={{'key': 'BIGINT', 'line': 'VARCHAR'}}
    )
)
"""

_KINDS = ", ".join(f"'{kind}'" for kind in PAYLOADS)

_NO_EVENT = f"(sequence IS NULL OR whole IS NOT TRUE OR kind IS NULL OR kind NOT IN ({_KINDS}))"


class Staging:
    """Rows of logs on their way into a cache.

    Args:
        folder: Where a temporary file may be written.
        last_sequences: By key, the sequence number of the last event that was read before.

    Attributes:
        unread: By key, lines that are no event.
        versions: By key, another schema version that a line names.

    Raises:
        duckdb.Error: If there is no room.
    """

    def __init__(self, folder: Path, last_sequences: Mapping[int, int]) -> None:
        self._path = folder / "lines.csv"
        self._connection = connect(folder)
        self._file: BinaryIO = self._path.open("wb")
        self._bytes = 0
        self.unread: dict[int, int] = {}
        self.versions: dict[int, int] = {}
        for table in TABLES.values():
            self._connection.execute(f"CREATE TABLE {table.name} ({table.definition})")
        self._connection.execute(
            "CREATE TABLE read_before AS SELECT unnest($1::BIGINT[]) AS key, "
            "unnest($2::BIGINT[]) AS last_sequence",
            [list(last_sequences), list(last_sequences.values())],
        )

    def add(self, key: int, lines: Iterable[bytes | None]) -> None:
        """Adds lines of a run's log; ``None`` for one that cannot be an event."""
        head = str(key).encode() + _SEPARATOR
        for line in lines:
            if line is None:
                self.unread[key] = self.unread.get(key, 0) + 1
                continue
            self._bytes += self._file.write(head + line + b"\n")
            if self._bytes >= BATCH_BYTES:
                self._load()

    def finish(self, folder: Path) -> dict[int, tuple[int, int]]:
        """Writes the tables as Parquet files into a new folder.

        Returns:
            By key, the number of events and the last sequence number.
        """
        self._load()
        for key in self.versions:
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table} WHERE key = $1", [key])
        folder.mkdir()
        for table in TABLES:
            copy_to_parquet(
                self._connection,
                f"SELECT * FROM {table} ORDER BY key, sequence",
                folder / f"{table}.parquet",
            )
        found = self._connection.execute(
            "SELECT key, count(*), max(sequence) FROM events GROUP BY key"
        ).fetchall()
        return {key: (count, last) for key, count, last in found}

    def close(self) -> None:
        """Removes what was not written."""
        self._connection.close()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _load(self) -> None:
        """Turns the lines in the file into rows, and empties it."""
        if self._bytes == 0:
            return
        self._file.flush()
        self._connection.execute(_STAGE, {"file": str(self._path)})
        self._file.seek(0)
        self._file.truncate()
        self._bytes = 0
        self._count_problems()
        self._drop_known()
        for table in TABLES.values():
            names = ", ".join((*ENVELOPE, *table.columns))
            for query in table.selects("staged"):
                self._connection.execute(f"INSERT INTO {table.name} SELECT {names} FROM ({query})")

    def _count_problems(self) -> None:
        execute = self._connection.execute
        for key, version in execute(
            f"SELECT key, any_value(version) FROM staged WHERE version <> {SCHEMA_VERSION} "
            "GROUP BY key"
        ).fetchall():
            self.versions[key] = version
        for key, count in execute(
            f"SELECT key, count(*) FROM staged WHERE {_NO_EVENT} GROUP BY key"
        ).fetchall():
            self.unread[key] = self.unread.get(key, 0) + count
        execute(f"DELETE FROM staged WHERE {_NO_EVENT}")

    def _drop_known(self) -> None:
        """Drops events that were read before, as the reducer does."""
        execute = self._connection.execute
        execute(
            "DELETE FROM staged USING read_before WHERE staged.key = read_before.key "
            "AND staged.sequence <= read_before.last_sequence"
        )
        repeated = execute(
            "SELECT key FROM staged GROUP BY key HAVING count(DISTINCT sequence) < count(*)"
        ).fetchall()
        if repeated:
            execute(
                "DELETE FROM staged WHERE rowid NOT IN "
                "(SELECT min(rowid) FROM staged GROUP BY key, sequence)"
            )
        execute(
            "CREATE OR REPLACE TABLE read_before AS "
            "SELECT key, max(last_sequence) AS last_sequence FROM "
            "(SELECT * FROM read_before UNION ALL SELECT key, sequence FROM staged) GROUP BY key"
        )


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Opens an empty database that keeps what does not fit into memory in a folder."""
    return duckdb.connect(
        config={
            "temp_directory": str(folder / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        }
    )


def copy_to_parquet(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Writes the rows of a query as a Parquet file; returns their number."""
    name = str(path).replace("'", "''")
    found = connection.execute(
        f"COPY ({query}) TO '{name}' (FORMAT parquet, COMPRESSION zstd)"
    ).fetchall()
    return int(found[0][0])
