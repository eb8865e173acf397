"""Numbers of flags: plain decimal ones, never rounded; and ports."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Protocol

from esper_leyline.errors import LeylineError, show_text

MOST_DIGITS = 18
"""Most digits of a whole number; every range of a setting is smaller."""

LARGEST_PORT = 65535

_WHOLE = re.compile(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


class _Token(Protocol):
    @property
    def value(self) -> str:
        """The text that the user wrote."""


def parse_whole(text: str) -> int:
    """Reads a whole number.

    Raises:
        ValueError: If it is not one, such as 1.5 or 0x10, or has too many digits.
    """
    if _WHOLE.fullmatch(text):
        return int(text)
    raise ValueError(f"'{show_text(text)}' is not a whole number of at most {MOST_DIGITS} digits.")


def read_whole(_type: Any, tokens: Sequence[_Token]) -> int:
    """Reads the value of a flag by ``parse_whole``."""
    (token,) = tokens
    return parse_whole(token.value)


def parse_number(text: str) -> float:
    """Reads a number, such as 2, 0.5 or 1e-4.

    Raises:
        ValueError: If it is not one, or not finite.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isfinite(value):
        return value
    raise ValueError(f"'{show_text(text)}' is not a number, such as 2 or 0.5.")


def read_number(_type: Any, tokens: Sequence[_Token]) -> float:
    """Reads the value of a flag by ``parse_number``."""
    (token,) = tokens
    return parse_number(token.value)


def check_port(flag: str, port: int) -> None:
    """Checks the port of a server; 0 takes a free one.

    Raises:
        LeylineError: If it is none.
    """
    if not 0 <= port <= LARGEST_PORT:
        raise LeylineError(
            f"{flag} {port} is no port; name one from 1 to {LARGEST_PORT}, or 0 for a free one"
        )
