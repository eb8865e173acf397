"""The base of the errors that Karn raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class KarnError(EsperError):
    """A run or its log cannot be read."""
