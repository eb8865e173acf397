"""The root of Esper's exceptions and the wording of the commonest one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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
    near = get_close_matches(name, names, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {what} '{name}'{hint}; allowed: {', '.join(names)}"
