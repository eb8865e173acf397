"""Strict JSON from files: bounded in size and depth, without duplicate keys, NaN or infinity."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esper_leyline.errors import LeylineError, show_text
from esper_leyline.files.paths import os_reason, read_regular

MOST_BYTES = 1_000_000
"""Size of a JSON file that is read."""

MOST_LEVELS = 32
"""Depth of objects and arrays inside each other."""

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def read_json(path: Path) -> Any:
    """Reads a JSON file by the rules of ``parse_json``.

    Raises:
        LeylineError: One line, without the path: why it cannot be read or what is wrong in it.
    """
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise LeylineError(f"cannot be read: {os_reason(error)}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LeylineError(f"is not JSON: byte {error.start} is not UTF-8") from None
    return parse_json(text)


def parse_json(text: str, limit: int = MOST_BYTES) -> Any:
    """Parses JSON strictly.

    Args:
        text: The JSON.
        limit: Most characters.

    Raises:
        LeylineError: If it is longer, is not JSON, is nested more than ``MOST_LEVELS`` deep,
            names a key of an object twice, or contains NaN or an infinity.
    """
    if len(text) > limit:
        raise LeylineError(f"has more than {limit:,} characters")
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except LeylineError:
        raise
    except ValueError as error:
        # Also an integer of more digits than Python converts.
        raise LeylineError(f"is not JSON: {show_text(str(error), 200)}") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > MOST_LEVELS:
            raise LeylineError(f"is nested more than {MOST_LEVELS} levels deep")


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise LeylineError(f"names the key '{show_text(key)}' twice in one object")
        values[key] = value
    return values


def _refuse_constant(name: str) -> float:
    raise LeylineError(f"contains {name}, which is not a number of JSON")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise LeylineError(f"contains {show_text(digits)}, which is beyond the range of a float")
    return value
