"""Alerts for anomalies: at most one of each kind in ten minutes of the run."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.run import Notice

PAUSE_SECONDS = 600.0
"""Seconds after an alert in which no other one of its kind is sent."""

SEVERE = frozenset({"numerical_instability", "run_failed"})
"""Kinds that are errors; the others are warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is sent about an anomaly."""

    title: str
    text: str
    severe: bool


class AlertLimiter:
    """Decides which anomalies are worth an alert, by the clock of the run itself.

    A run that is sent after its end therefore gives the same alerts as one that is followed.

    Attributes:
        counts: All anomalies so far by kind, also those without an alert.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._sent: dict[str, tuple[float, int]] = {}

    def add(self, notice: Notice) -> Alert | None:
        """Counts an anomaly and returns its alert; ``None`` so soon after the one before."""
        kind = notice.kind
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        last, sent = self._sent.get(kind, (None, 0))
        # A clock that was set back starts a new pause.
        if last is not None and abs(notice.wall_time - last) < PAUSE_SECONDS:
            return None
        self._sent[kind] = (notice.wall_time, count)
        left_out = count - 1 - sent
        since = f" ({left_out} more since the last alert)" if left_out and last is not None else ""
        return Alert(
            title=kind.replace("_", " "),
            text=f"{_where(notice)}{notice.text}{since}",
            severe=kind in SEVERE,
        )


def _where(notice: Notice) -> str:
    parts = []
    if notice.round is not None:
        parts.append(f"round {notice.round}")
    if notice.environment is not None:
        parts.append(f"host {notice.environment}")
    return f"{', '.join(parts)}: " if parts else ""
