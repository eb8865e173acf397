"""The panel of the log: anomalies, lifecycle steps, changes of hosts, steps of the run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from esper_karn.state import notices as state_notices
from esper_karn.state.run import Notice, RunState
from esper_leyline.wire import WIRE_CONFIG, Float

LOG_LINES = 100
"""Lines of the log panel, the latest ones."""

Group = Literal["anomaly", "seed", "host", "run"]
"""What a line of the log is about."""

_GROUPS: dict[state_notices.Group, Group] = {
    "anomalies": "anomaly",
    "lifecycle": "seed",
    "hosts": "host",
    "run": "run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One notice.

    Attributes:
        sequence: Sequence number of its event.
        group: What it is about.
    """

    sequence: int
    wall_time: Float
    group: Group
    kind: str
    text: str
    round: int | None
    epoch: int | None
    environment: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The latest notices, oldest first.

    Attributes:
        anomalies: Number of all anomalies, also of those that are not kept.
        latest_anomaly: The latest one that is kept.
        empty: Why there is no line, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    lines: tuple[LogLine, ...]
    anomalies: int
    latest_anomaly: LogLine | None
    empty: str | None


def log_lines(
    state: RunState,
    *,
    groups: Collection[Group] = (),
    text: str = "",
    environment: int | None = None,
) -> Log:
    """Selects the latest notices.

    Args:
        state: The run.
        groups: Only these groups; all of them if empty.
        text: Only lines with this text in their kind or text, in upper or lower case.
        environment: Only lines of this host; ``None`` for all lines.
    """
    notices = state.notices
    lines = [log_line(group, each) for group in _GROUPS for each in getattr(notices, group)]
    lines.sort(key=lambda line: line.sequence)
    kept = [line for line in lines if _matches(line, groups, text, environment)]
    return Log(
        lines=tuple(kept[-LOG_LINES:]),
        anomalies=notices.anomaly_count,
        latest_anomaly=(
            log_line("anomalies", notices.anomalies[-1]) if notices.anomalies else None
        ),
        empty=None if kept else "no line matches the filter" if lines else "nothing happened yet",
    )


def _matches(line: LogLine, groups: Collection[Group], text: str, environment: int | None) -> bool:
    if groups and line.group not in groups:
        return False
    if environment is not None and line.environment != environment:
        return False
    return has_text(line, text)


def has_text(line: LogLine, text: str) -> bool:
    """Whether a line has a text in its kind or its own text, in upper or lower case."""
    return text.casefold() in f"{line.kind} {line.text}".casefold()


def log_line(group: state_notices.Group, notice: Notice) -> LogLine:
    """Returns the line of a notice."""
    return LogLine(
        sequence=notice.sequence,
        wall_time=notice.wall_time,
        group=_GROUPS[group],
        kind=notice.kind,
        text=notice.text,
        round=notice.round,
        epoch=notice.epoch,
        environment=notice.environment,
    )
