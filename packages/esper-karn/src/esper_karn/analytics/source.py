"""How the events of a log become the rows of a table, as SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from esper_karn.analytics.payload_columns import Part, element, find_part, structure
from esper_leyline.events import PAYLOADS

ENVELOPE = {
    "key": "BIGINT",
    "sequence": "BIGINT",
    "boot": "INTEGER",
    "time": "TIMESTAMP",
    "round": "INTEGER",
    "environment": "INTEGER",
    "epoch": "INTEGER",
}
"""Columns that every table begins with; ``key`` stands for the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How events of some kinds become rows.

    Attributes:
        kinds: All with the same columns.
        columns: Path in the payload by column; ``each.`` begins a path in an element of
            ``rows``, ``payload`` is the whole payload as JSON, ``kind`` the event's kind.
        rows: Path of a tuple or a dictionary that gives a row for each of its elements;
            empty for one row an event.
        condition: SQL over the columns; other rows are left out.
    """

    kinds: tuple[str, ...]
    columns: Mapping[str, str]
    rows: str = ""
    condition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the cache.

    Attributes:
        name: Also the name of its file.
        sources: Columns that a source lacks are ``NULL``.
    """

    name: str
    sources: tuple[Source, ...]

    @property
    def columns(self) -> dict[str, str]:
        """SQL type of each column after those of the envelope."""
        types: dict[str, str] = {}
        for source in self.sources:
            for name, path in source.columns.items():
                types.setdefault(name, _column_type(source, path))
        return types

    @property
    def definition(self) -> str:
        """The table's columns as SQL."""
        return ", ".join(f"{name} {kind}" for name, kind in {**ENVELOPE, **self.columns}.items())

    def selects(self, staged: str) -> list[str]:
        """Returns a query a source, each over the table of events ``staged``."""
        return [_select(self, source, staged) for source in self.sources]


_SPECIAL = {"kind": "VARCHAR", "payload": "JSON", "coalesced": "BIGINT", "run_group": "VARCHAR"}
"""Columns that are not in a payload."""


def _payload(source: Source) -> Any:
    return PAYLOADS[source.kinds[0]]


def _part(source: Source, path: str) -> Part:
    if path.startswith("each."):
        rows = find_part(_payload(source), source.rows).annotation
        return find_part(element(rows), path.removeprefix("each."))
    return find_part(_payload(source), path)


def _column_type(source: Source, path: str) -> str:
    return _SPECIAL.get(path) or _part(source, path).sql_type


def _select(table: Table, source: Source, staged: str) -> str:
    """Returns the query that makes rows of a table from the events of a source."""
    columns = {
        name: _expression(source, source.columns[name]) if name in source.columns else "NULL"
        for name in table.columns
    }
    selected = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    envelope = ", ".join(ENVELOPE)
    kinds = ", ".join(f"'{kind}'" for kind in source.kinds)
    events = (
        f"SELECT {envelope}, {', '.join(_SPECIAL)}, {_read(source)} AS p "
        f"FROM {staged} WHERE kind IN ({kinds})"
    )
    if source.rows:
        rows = f"p.{source.rows}"
        if find_part(_payload(source), source.rows).is_dictionary:
            rows = f"map_entries({rows})"
        events = f"SELECT *, unnest({rows}) AS each FROM ({events})"
    query = f"SELECT {envelope}, {selected} FROM ({events})"
    return f"SELECT * FROM ({query}) WHERE {source.condition}" if source.condition else query


def _expression(source: Source, path: str) -> str:
    if path in _SPECIAL:
        return path
    # Names are quoted, because a percentile is a number.
    names = ".".join(f'"{name}"' for name in path.removeprefix("each.").split("."))
    return _part(source, path).expression(f"{'each' if path.startswith('each.') else 'p'}.{names}")


def _read(source: Source) -> str:
    """Returns SQL that reads the parts of a payload that the columns need."""
    paths = [path for path in source.columns.values() if path not in _SPECIAL]
    parts: dict[str, Any] = {
        path: _part(source, path).stored_type for path in paths if not path.startswith("each.")
    }
    if source.rows:
        parts[source.rows] = _rows_structure(source)
    if not parts:
        return "NULL"
    return f"json_transform(payload, '{json.dumps(structure(parts))}')"


def _rows_structure(source: Source) -> object:
    """Returns the structure of what gives the rows: a list of objects, or a dictionary's type."""
    rows = find_part(_payload(source), source.rows)
    if rows.is_dictionary:
        return rows.stored_type
    each = element(rows.annotation)
    fields = {
        path.removeprefix("each."): find_part(each, path.removeprefix("each.")).stored_type
        for path in source.columns.values()
        if path.startswith("each.")
    }
    return [structure(fields)]
