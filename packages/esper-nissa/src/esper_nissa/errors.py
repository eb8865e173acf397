"""The base of the errors that Nissa raises on purpose."""

from __future__ import annotations

from esper_leyline import EsperError


class NissaError(EsperError):
    """Telemetry or a run directory cannot be written or read."""


class LogError(NissaError):
    """Events are missing from a log, or may be.

    Attributes:
        first_lost: Sequence number of the first missing event; ``None`` if it is the next one.
        events: Number of missing events, possibly 0, if the log is still written; ``None`` if
            it takes no further event.
    """

    def __init__(
        self, message: str, *, first_lost: int | None = None, events: int | None = None
    ) -> None:
        super().__init__(message)
        self.first_lost = first_lost
        self.events = events
