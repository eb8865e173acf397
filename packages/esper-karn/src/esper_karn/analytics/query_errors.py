"""Which queries are answered, and one line for each that is not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import duckdb

from esper_karn.errors import KarnError

ANSWERED = "SELECT, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN"

_NO_COLUMN = re.compile(
    r'Referenced column "(?P<a>[^"]*)" not found|have a column named "(?P<b>[^"]*)"'
)
_NO_TABLE = re.compile(r"Table with name (?P<name>.*?) does not exist", re.DOTALL)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?", re.IGNORECASE)
_NEAREST = 3


def check_query(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuses all but one statement that only reads.

    Raises:
        KarnError: If it is another one.
        duckdb.Error: If it cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        number = len(statements) or "none"
        raise KarnError(
            f"one query is answered at a time, and there are {number}: remove the ';'"
            if statements
            else 'the query is empty; name one, for example "SELECT * FROM runs"'
        )
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN and _EXPLAIN.match(sql):
        check_query(connection, _EXPLAIN.sub("", sql, count=1))
    elif kind == duckdb.StatementType.MULTI:
        raise KarnError("PIVOT needs the values: PIVOT … ON column IN ('a', 'b') USING …")
    elif kind != duckdb.StatementType.SELECT:
        raise KarnError(f"only {ANSWERED} are answered, and this is {kind.name}")


def describe_error(message: str, sql: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Describes in one line why a query failed, with the nearest names that exist.

    Args:
        message: DuckDB's.
        sql: The query.
        columns: Names of columns by view.
    """
    if match := _NO_COLUMN.search(message):
        name = match["a"] or match["b"] or ""
        return f"no column '{name}'; {_near_columns(name, sql, columns)}"
    if match := _NO_TABLE.search(message):
        name = match["name"]
        near = difflib.get_close_matches(name.lower(), columns, _NEAREST)
        some = f"did you mean {_or(near)}?" if near else f"there are {', '.join(columns)}"
        return f"no table '{name}'; {some}"
    reason = message.split("\n\nLINE ", maxsplit=1)[0]
    return f"the query failed: {' '.join(reason.split())}"


def _near_columns(name: str, sql: str, columns: Mapping[str, Sequence[str]]) -> str:
    words = set(re.findall(r"\w+", sql.lower()))
    used = {view: names for view, names in columns.items() if view in words} or columns
    owners: dict[str, list[str]] = {}
    for view, names in used.items():
        for each in names:
            owners.setdefault(each, []).append(view)
    short = name.lower().split(".")[-1]
    near = difflib.get_close_matches(short, owners, _NEAREST, cutoff=0.5)
    near += [each for each in owners if short and short in each and each not in near]
    if near:
        return f"did you mean {_or([f'{owners[each][0]}.{each}' for each in near[:_NEAREST]])}?"
    return "; ".join(f"{view} has {', '.join(names)}" for view, names in list(used.items())[:2])


def _or(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
