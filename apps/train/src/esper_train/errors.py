"""Errors of the training commands."""

from __future__ import annotations

from esper_leyline import EsperError


class TrainError(EsperError):
    """A command cannot do what it was asked; the message says why and what to do."""
