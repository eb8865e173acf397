"""The base of the errors that the app raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class OverwatchError(EsperError):
    """The app was asked for something that is not there."""
