"""Simic's exceptions."""

from __future__ import annotations

from collections.abc import Mapping

from esper_leyline import EsperError


class SimicError(EsperError):
    """Base of every error that Simic raises on purpose."""


class SkippedUpdatesError(SimicError):
    """Several updates in a row met numbers that are not finite.

    Attributes:
        changes: Settings, by dotted key, with which a resumed run may continue. Empty if the
            cause is not in the learner.
    """

    def __init__(self, message: str, changes: Mapping[str, float]) -> None:
        super().__init__(message)
        self.changes = dict(changes)
