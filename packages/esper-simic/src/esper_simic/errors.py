"""The one exception base of this distribution."""

from __future__ import annotations

from collections.abc import Mapping

from esper_leyline import EsperError


class SimicError(EsperError):
    """A reward, a rollout or an update cannot be made as asked."""


class SkippedUpdatesError(SimicError):
    """Several updates in a row met numbers that are not finite.

    Attributes:
        changes: Settings by dotted key with which a resumed run may continue; empty where
            the cause is outside the learner.
    """

    def __init__(self, message: str, changes: Mapping[str, float]) -> None:
        super().__init__(message)
        self.changes = dict(changes)
