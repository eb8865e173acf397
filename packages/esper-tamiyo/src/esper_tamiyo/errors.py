"""What Tamiyo raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class TamiyoError(EsperError):
    """A policy or controller was given something it cannot decide about."""
