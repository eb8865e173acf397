"""Values of a database as text."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from esper_karn import MISSING, format_significant

_DIGITS = 6


def table_cell(value: object) -> str:
    """Returns a value for a table: numbers with six digits, ``–`` for none."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return format_significant(value, _DIGITS)
    if isinstance(value, list | dict):
        return json.dumps(plain(value, _DIGITS), ensure_ascii=False)
    return plain_text(value)


def csv_cell(value: object) -> str:
    """Returns a value for a CSV file: all digits, nothing for none, lists as JSON."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(plain(value))
    return plain_text(value)


def plain_text(value: object) -> str:
    """Returns a value that is not a list as text."""
    found = plain(value)
    if isinstance(found, bool):
        return "true" if found else "false"
    return found if isinstance(found, str) else repr(found)


def plain(value: Any, digits: int | None = None) -> Any:
    """Returns a value as JSON can hold it; ``NaN`` and infinities as text.

    Args:
        value: Of any SQL type.
        digits: Significant digits of numbers, ``None`` for all.
    """
    if isinstance(value, list | tuple):
        return [plain(each, digits) for each in value]
    if isinstance(value, dict):
        return {str(plain(key)): plain(each, digits) for key, each in value.items()}
    if isinstance(value, float):
        return _number(value, digits)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _number(value: float, digits: int | None) -> float | str:
    if math.isfinite(value):
        return value if digits is None else float(f"{value:.{digits}g}")
    return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
