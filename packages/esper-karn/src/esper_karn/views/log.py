"""The panel of the log: anomalies, lifecycle steps, changes of hosts, steps of the run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from esper_karn.state.run import Notice, RunState
from esper_leyline.wire import WIRE_CONFIG, Float

LOG_LINES = 100
"""Lines of the log panel, the latest ones."""

Group = Literal["anomaly", "seed", "host", "run"]
"""What a line of the log is about."""


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
    lines = [
        *(_line("anomaly", each) for each in notices.anomalies),
        *(_line("seed", each) for each in notices.lifecycle),
        *(_line("host", each) for each in notices.hosts),
        *(_line("run", each) for each in notices.run),
    ]
    lines.sort(key=lambda line: line.sequence)
    kept = [line for line in lines if _matches(line, groups, text.casefold(), environment)]
    return Log(
        lines=tuple(kept[-LOG_LINES:]),
        anomalies=notices.anomaly_count,
        latest_anomaly=_line("anomaly", notices.anomalies[-1]) if notices.anomalies else None,
        empty=None if kept else "no line matches the filter" if lines else "nothing happened yet",
    )


def _matches(line: LogLine, groups: Collection[Group], text: str, environment: int | None) -> bool:
    if groups and line.group not in groups:
        return False
    if environment is not None and line.environment != environment:
        return False
    return text in f"{line.kind} {line.text}".casefold()


def _line(group: Group, notice: Notice) -> LogLine:
    return LogLine(
        sequence=notice.sequence,
        wall_time=notice.wall_time,
        group=group,
        kind=notice.kind,
        text=notice.text,
        round=notice.round,
        epoch=notice.epoch,
        environment=notice.environment,
    )
