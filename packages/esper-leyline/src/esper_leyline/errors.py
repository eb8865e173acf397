"""The root of Esper's exceptions and the wording of the commonest one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_SHOWN = 80
"""Characters of a user's text that a message repeats."""


class EsperError(Exception):
    """Base of every error that an Esper distribution raises on purpose.

    Applications catch it and print its message: the message names the bad value,
    what is allowed and what to do, and needs no traceback.
    """


class LeylineError(EsperError, ValueError):
    """A contract was given something it does not describe.

    It is a ``ValueError`` too, so that pydantic reports it with the place it occurred at.
    """


class ConfigError(LeylineError):
    """A run configuration cannot be used as it is written."""


def unknown_name(what: str, name: str, allowed: Iterable[str]) -> str:
    """Words the message for a name outside a closed set.

    Args:
        what: What the name should have named, such as ``"task"``.
        name: The name that was given.
        allowed: Every valid name.

    Returns:
        One line that names the bad value, the nearest valid one, and all valid ones.
    """
    names = sorted(allowed)
    # The time of the comparison grows with the square of the length.
    near = get_close_matches(name, names, n=1) if len(name) <= MOST_SHOWN else []
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {what} '{show_text(name)}'{hint}; allowed: {', '.join(names)}"


def printable(text: str) -> str:
    r"""Returns the text with every character that is not visible escaped.

    Escape sequences, other control characters, line breaks, bidirectional overrides,
    zero-width characters and lone surrogates (bytes of a file name that are not UTF-8)
    become ``\x1b``, ``\n``, ``\u202e`` and so on. The result is one line and can be
    encoded as UTF-8.

    Args:
        text: Any text that this process did not write itself.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def show_text(text: str, limit: int = MOST_SHOWN) -> str:
    """Makes text that a user wrote fit for one line of a message.

    Args:
        text: Any text, also of many lines or with escape codes for a terminal.
        limit: Characters to keep.

    Returns:
        The printable text. Where it is longer than ``limit``, its end is cut off and its
        length is appended.
    """
    shown = printable(text[:limit])
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
