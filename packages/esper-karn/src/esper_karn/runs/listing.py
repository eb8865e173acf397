"""The list of runs as an interface shows it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from esper_karn.runs.records import RunPeek
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the list.

    Attributes:
        status: One word: how it ended, or ``running``, ``crashed``, ``stale``, ``unreadable``.
        share: Share of the run that is done, 0 to 1; ``None`` if its length is not known.
        accuracy: Mean final validation accuracy of the last round, in percent.
        best_accuracy: Best final validation accuracy of the rounds of ``spark``, in percent.
        mean_return: Mean return of the last round.
        spark: Mean final validation accuracy of the latest rounds, in percent.
        last_event: Unix time of its latest event.
        problem: Why it cannot be read, ``None`` if it can.
        note: A remark, for example that the last line of the log cannot be read.
    """

    run_id: str
    status: str
    task: str | None
    rounds_done: int
    rounds_total: int | None
    share: Float | None
    accuracy: Float | None
    best_accuracy: Float | None
    mean_return: Float | None
    spark: tuple[Float | None, ...]
    last_event: Float | None
    problem: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsList:
    """The runs of a folder, in the order in which they are given.

    Attributes:
        empty: What to say if there is none, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    runs: tuple[RunRow, ...]
    empty: str | None


def list_runs(peeks: Iterable[RunPeek], now: float) -> RunsList:
    """Selects the list of runs.

    Args:
        peeks: The runs.
        now: Unix time.
    """
    rows = tuple(_row(each, now) for each in peeks)
    empty = None if rows else "no run yet: start one with uv run esper-train ppo"
    return RunsList(runs=rows, empty=empty)


def _row(peek: RunPeek, now: float) -> RunRow:
    total, last = peek.rounds_total, peek.last_round
    best = [each for each in peek.best_accuracies if each is not None and math.isfinite(each)]
    return RunRow(
        run_id=peek.run_id,
        status=peek.status_text(now),
        task=peek.task,
        rounds_done=peek.rounds_done,
        rounds_total=total,
        share=min(1.0, peek.rounds_done / total) if total else None,
        accuracy=last.mean_accuracy if last else None,
        best_accuracy=max(best, default=None),
        mean_return=last.mean_return if last else None,
        spark=peek.accuracies,
        last_event=peek.last_event,
        problem=peek.problem,
        note=peek.note,
    )
