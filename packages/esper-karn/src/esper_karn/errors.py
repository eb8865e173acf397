"""The base of the errors that Karn raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class KarnError(EsperError):
    """A run or its log cannot be read."""


def os_reason(error: OSError) -> str:
    """Returns what the operating system said, without its error number."""
    return error.strerror or str(error)
