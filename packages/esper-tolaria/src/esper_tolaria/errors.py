"""Tolaria's exceptions."""

from __future__ import annotations

from esper_leyline import EsperError


class TolariaError(EsperError):
    """Base of every error that Tolaria raises on purpose."""


class MissingDataError(TolariaError):
    """Data is not on this machine, and downloading it failed."""


class WorkerLostError(TolariaError):
    """A worker process died.

    Attributes:
        reason: How it ended.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorkerTracebackError(Exception):
    """The traceback of a worker process as text; the cause of the error raised in the parent."""
