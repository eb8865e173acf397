"""The base of the errors of the app."""

from __future__ import annotations

from esper_leyline import EsperError


class OverwatchError(EsperError):
    """Something that was named does not exist or cannot be written."""
