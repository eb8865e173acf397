"""Prints the closing table of a run: its rounds, then their totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn.formatting import (
    MISSING,
    format_count,
    format_duration,
    format_fixed,
    format_index,
    format_mean,
    format_signed,
    pluralize,
)
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run_report import RunReport
from esper_karn.terminal.layout import Column, FittedTable, TableVariant
from esper_leyline import RunStatus, printable

MIDDLE_ROWS = 5
"""Rows between the first and the last rounds of a long run."""

_STATUS_STYLES = {
    RunStatus.COMPLETED: "green",
    RunStatus.RUNNING: "cyan",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.FAILED: "red",
}

_SHORT_OPS = {
    "WAIT": "wait",
    "GERMINATE": "germ",
    "SET_ALPHA_TARGET": "alph",
    "PRUNE": "prun",
    "FOSSILIZE": "foss",
    "ADVANCE": "adv",
}

_OP_RANKS = {
    "WAIT": 16,
    "SET_ALPHA_TARGET": 15,
    "ADVANCE": 14,
    "PRUNE": 13,
    "FOSSILIZE": 12,
    "GERMINATE": 11,
}
"""Columns with a high rank are left out first."""


@dataclass(frozen=True, slots=True)
class ClosingTable:
    """A run's report for a Rich console: one row per round, then totals.

    Of a long run, the rounds between the first and the last ones are merged into a few rows.
    """

    report: RunReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self.report.rounds.condense(MIDDLE_ROWS)
        if rows:
            yield Text()
            yield _table(rows, self.report.ops)
            yield Text()
        yield from _lines(self.report, rows)


def _table(rows: Sequence[RoundStats], ops: Sequence[str]) -> FittedTable:
    single = [row.rounds == 1 for row in rows]
    changes = [row for row in range(1, len(rows)) if single[row] != single[row - 1]]
    return FittedTable(_wide(rows, ops), _compact(rows, ops), breaks=frozenset(changes))


def _wide(rows: Sequence[RoundStats], ops: Sequence[str]) -> TableVariant:
    columns = [
        *_results(rows, "accuracy %", "best %"),
        *_op_columns(rows, {name: _long_op(name) for name in ops}),
        _numbers("germinated", [_per_round(row, row.germinated) for row in rows], 3),
        _numbers("fossilized", [_per_round(row, row.fossilized) for row in rows], 3),
        _numbers("pruned", [_per_round(row, row.pruned) for row in rows], 3),
        _numbers("grown", [format_count(row.grown_parameters) for row in rows], 2),
    ]
    return TableVariant(columns=columns)


def _compact(rows: Sequence[RoundStats], ops: Sequence[str]) -> TableVariant:
    columns = [
        *_results(rows, "acc%", "best%"),
        *_op_columns(rows, {name: _SHORT_OPS.get(name, name.lower()) for name in ops}),
        _numbers("seeds", [_seed_counts(row) for row in rows], 3),
        _numbers("grown", [format_count(row.grown_parameters) for row in rows], 2),
    ]
    return TableVariant(columns=columns, notes=["seeds: germinated/fossilized/pruned"])


def _results(rows: Sequence[RoundStats], accuracy: str, best: str) -> list[Column]:
    firsts = [format_index(row.first) for row in rows]
    lasts = [format_index(row.last) for row in rows]
    spans = [a if a == b else f"{a}–{b}" for a, b in zip(firsts, lasts, strict=True)]
    return [
        Column(head="round", cells=spans, left=True),
        _numbers("return", [format_signed(row.mean_return) for row in rows], 0),
        _numbers(accuracy, [format_fixed(row.mean_accuracy, 1) for row in rows], 0),
        _numbers(best, [format_fixed(row.best_accuracy, 1) for row in rows], 1),
    ]


def _op_columns(rows: Sequence[RoundStats], heads: Mapping[str, str]) -> list[Column]:
    return [
        _numbers(
            head, [_per_round(row, row.ops.get(name, 0)) for row in rows], _OP_RANKS.get(name, 10)
        )
        for name, head in heads.items()
    ]


def _numbers(head: str, cells: Sequence[str], rank: int) -> Column:
    return Column(head=head, cells=cells, rank=rank)


def _per_round(row: RoundStats, total: int) -> str:
    return format_mean(row.per_round(total))


def _long_op(op: str) -> str:
    return op.lower().replace("_", " ").replace("set alpha target", "set alpha")


def _seed_counts(row: RoundStats) -> str:
    totals = (row.germinated, row.fossilized, row.pruned)
    return "/".join(_per_round(row, total) for total in totals)


def _lines(report: RunReport, rows: Sequence[RoundStats]) -> Iterator[Text]:
    total = report.rounds.total
    yield _status_line(report, total)
    if total is None:
        return
    if any(row.rounds > 1 for row in rows):
        yield Text("rows of several rounds: means per round, best accuracy the best", "dim")
    yield from _trend_line(report)
    if report.ops:
        used = ", ".join(f"{_long_op(name)} {format_count(total.ops[name])}" for name in report.ops)
        yield Text(printable(f"ops used: {used}"))
    yield Text(_seed_totals(total))
    yield Text(_parameters(report))
    if report.mean_test_accuracy is not None:
        accuracy = format_fixed(report.mean_test_accuracy, 1)
        yield Text(f"test accuracy of the last round's hosts: {accuracy} %")


def _status_line(report: RunReport, total: RoundStats | None) -> Text:
    name = " on ".join(part for part in (report.command, report.task) if part) or "run"
    rounds = pluralize(total.rounds, "round") if total else "no round finished"
    line = Text(f"{printable(name)} ").append(report.status.value, _STATUS_STYLES[report.status])
    line.append(f": {rounds}")
    if report.seconds is not None:
        line.append(f" in {format_duration(report.seconds)}")
    if report.peak_memory_mb is not None:
        line.append(f", peak memory {format_count(report.peak_memory_mb)} MB")
    if report.error:
        line.append(f"; {printable(report.error)}")
    return line


def _trend_line(report: RunReport) -> Iterator[Text]:
    trend = report.trend
    if trend is None:
        return
    which = "round" if trend.rounds == 1 else f"{trend.rounds} rounds"
    first, last = format_signed(trend.first), format_signed(trend.last)
    line = Text(f"mean return: first {which} {first}, last {last}")
    if trend.first is not None and trend.last is not None:
        line.append(f" ({format_signed(trend.last - trend.first)})", "bold")
    yield line


def _seed_totals(total: RoundStats) -> str:
    line = (
        f"seeds: {format_count(total.germinated)} germinated, "
        f"{format_count(total.fossilized)} fossilized, {format_count(total.pruned)} pruned"
    )
    return f"{line}; {pluralize(total.rollbacks, 'rollback')}" if total.rollbacks else line


def _parameters(report: RunReport) -> str:
    last = report.rounds.last
    grown = format_count(last.grown_parameters) if last else MISSING
    return (
        f"parameters grown: {grown} a host in the last round, "
        f"born with {format_count(report.host_parameters)}"
    )
