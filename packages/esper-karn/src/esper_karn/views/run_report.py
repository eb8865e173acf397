"""Selects what a run's closing table shows: every round, or the edges and blocks between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

from esper_karn.state.rounds import RoundBlock, RoundHistory, merge
from esper_karn.state.run import RunState
from esper_leyline import Op, RoundSummary, RunStatus, RunSummary

CONDENSED = 5
"""Most rows that stand for the rounds between the first and the last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingRow:
    """One round, or a block of rounds as means per round (best accuracy: the best)."""

    first: int
    last: int
    mean_return: float | None
    mean_accuracy: float | None
    best_accuracy: float | None
    ops: dict[str, float]
    germinated: float
    fossilized: float
    pruned: float
    grown_parameters: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Mean return of the first and of the last ``rounds`` rounds, which do not overlap."""

    rounds: int
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A run's end.

    Attributes:
        rows: In order of rounds.
        ops: The ops that occur, in order of the action space.
        total: All rounds as one block, ``None`` without any.
        learning: ``None`` with fewer than two rounds.
    """

    task: str | None
    command: str | None
    status: RunStatus
    error: str | None
    seconds: float | None
    host_parameters: int | None
    mean_test_accuracy: float | None
    peak_memory_mb: float | None
    rows: tuple[ClosingRow, ...]
    ops: tuple[str, ...]
    total: RoundBlock | None
    last: RoundSummary | None
    learning: Learning | None


def closing(source: RunState | RunSummary) -> Closing:
    """Selects the closing view of a run from its state or from its summary."""
    if isinstance(source, RunSummary):
        return _closing(
            RoundHistory.of(source.rounds),
            task=source.task,
            command=source.command,
            status=source.status,
            error=source.error,
            seconds=source.seconds,
            host_parameters=source.host_parameters,
            mean_test_accuracy=source.mean_test_accuracy,
            peak_memory_mb=source.peak_memory_mb,
        )
    facts, started = source.facts, source.facts.started
    return _closing(
        facts.rounds,
        task=started.config.task if started else None,
        command=started.command if started else None,
        status=facts.status,
        error=facts.error,
        seconds=facts.seconds,
        host_parameters=started.host_parameters if started else None,
        mean_test_accuracy=None,
        peak_memory_mb=None,
    )


def _closing(
    history: RoundHistory,
    *,
    task: str | None,
    command: str | None,
    status: RunStatus,
    error: str | None,
    seconds: float | None,
    host_parameters: int | None,
    mean_test_accuracy: float | None,
    peak_memory_mb: float | None,
) -> Closing:
    total = history.total()
    return Closing(
        task=task,
        command=command,
        status=status,
        error=error,
        seconds=seconds,
        host_parameters=host_parameters,
        mean_test_accuracy=mean_test_accuracy,
        peak_memory_mb=peak_memory_mb,
        rows=_rows(history),
        ops=_ops(total),
        total=total,
        last=history.last,
        learning=_learning(history),
    )


def _rows(history: RoundHistory) -> tuple[ClosingRow, ...]:
    size = max(1, math.ceil(len(history.middle) / CONDENSED))
    groups = [history.middle[start : start + size] for start in range(0, len(history.middle), size)]
    return (
        *(_round_row(summary) for summary in history.head),
        *(_block_row(reduce(merge, group)) for group in groups),
        *(_round_row(summary) for summary in history.tail),
    )


def _round_row(summary: RoundSummary) -> ClosingRow:
    return ClosingRow(
        first=summary.round,
        last=summary.round,
        mean_return=summary.mean_return,
        mean_accuracy=summary.mean_accuracy,
        best_accuracy=summary.best_accuracy,
        ops={name: float(times) for name, times in summary.ops.items()},
        germinated=summary.germinated,
        fossilized=summary.fossilized,
        pruned=summary.pruned,
        grown_parameters=summary.grown_parameters,
    )


def _block_row(block: RoundBlock) -> ClosingRow:
    return ClosingRow(
        first=block.first,
        last=block.last,
        mean_return=block.mean_return,
        mean_accuracy=block.mean_accuracy,
        best_accuracy=block.best_accuracy,
        ops={name: times / block.rounds for name, times in block.ops.items()},
        germinated=block.germinated / block.rounds,
        fossilized=block.fossilized / block.rounds,
        pruned=block.pruned / block.rounds,
        grown_parameters=block.grown_parameters,
    )


def _ops(total: RoundBlock | None) -> tuple[str, ...]:
    found = total.ops if total else {}
    known = [op.name for op in Op]
    return (
        *(name for name in known if name in found),
        *(name for name in found if name not in known),
    )


def _learning(history: RoundHistory) -> Learning | None:
    """Compares the edges; where the middle is empty they hold every round."""
    if history.middle:
        first, last = history.head, history.tail
    else:
        whole = (*history.head, *history.tail)
        half = min(len(history.head), len(whole) // 2)
        first, last = whole[:half], whole[len(whole) - half :]
    size = min(len(first), len(last))
    if size == 0:
        return None
    return Learning(rounds=size, first=_mean(first[:size]), last=_mean(last[-size:]))


def _mean(rounds: tuple[RoundSummary, ...]) -> float | None:
    return reduce(merge, [RoundBlock.of(each) for each in rounds]).mean_return
