"""Renders a run's closing table with Rich, to the width it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn.console.layout import Column, FittedTable, TableVariant
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
from esper_karn.state.run import RunState
from esper_karn.views.run_report import Closing, ClosingRow, closing
from esper_leyline import RunStatus, RunSummary, printable

_STATUS_STYLES = {
    RunStatus.COMPLETED: "green",
    RunStatus.RUNNING: "cyan",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.FAILED: "red",
}

_OP_HEADS = {
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


def closing_table(source: RunState | RunSummary) -> ClosingTable:
    """Returns the closing table of a run, to be printed by a Rich console.

    Args:
        source: The run as its log tells it, or as its summary does, which also knows
            test accuracy and memory.
    """
    return ClosingTable(closing(source))


@dataclass(frozen=True, slots=True)
class ClosingTable:
    """A closing view as something that Rich prints: the rounds, then what they come to."""

    view: Closing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.view.rows:
            yield Text()
            yield _table(self.view)
            yield Text()
        yield from _lines(self.view)


def _table(view: Closing) -> FittedTable:
    rows = view.rows
    single = [row.first == row.last for row in rows]
    changes = [row for row in range(1, len(rows)) if single[row] != single[row - 1]]
    return FittedTable(_wide(view), _compact(view), breaks=frozenset(changes))


def _wide(view: Closing) -> TableVariant:
    rows = view.rows
    columns = [
        *_results(rows, "accuracy %", "best %"),
        *_ops(view, {name: _head(name) for name in view.ops}),
        _numbers("germinated", [format_mean(row.germinated) for row in rows], 3),
        _numbers("fossilized", [format_mean(row.fossilized) for row in rows], 3),
        _numbers("pruned", [format_mean(row.pruned) for row in rows], 3),
        _numbers("grown", [format_count(row.grown_parameters) for row in rows], 2),
    ]
    return TableVariant(columns=columns)


def _compact(view: Closing) -> TableVariant:
    rows = view.rows
    columns = [
        *_results(rows, "acc%", "best%"),
        *_ops(view, {name: _OP_HEADS.get(name, name.lower()) for name in view.ops}),
        _numbers("seeds", [_seed_counts(row) for row in rows], 3),
        _numbers("grown", [format_count(row.grown_parameters) for row in rows], 2),
    ]
    return TableVariant(columns=columns, notes=["seeds: germinated/fossilized/pruned"])


def _results(rows: Sequence[ClosingRow], accuracy: str, best: str) -> list[Column]:
    numbers = [format_index(row.first) for row in rows]
    last = [format_index(row.last) for row in rows]
    blocks = [a if a == b else f"{a}–{b}" for a, b in zip(numbers, last, strict=True)]
    return [
        Column(head="round", cells=blocks, left=True),
        _numbers("return", [format_signed(row.mean_return) for row in rows], 0),
        _numbers(accuracy, [format_fixed(row.mean_accuracy, 1) for row in rows], 0),
        _numbers(best, [format_fixed(row.best_accuracy, 1) for row in rows], 1),
    ]


def _ops(view: Closing, heads: Mapping[str, str]) -> list[Column]:
    return [
        _numbers(
            heads[name],
            [format_mean(row.ops.get(name, 0)) for row in view.rows],
            _OP_RANKS.get(name, 10),
        )
        for name in view.ops
    ]


def _numbers(head: str, cells: Sequence[str], rank: int) -> Column:
    return Column(head=head, cells=cells, rank=rank)


def _head(op: str) -> str:
    return op.lower().replace("_", " ").replace("set alpha target", "set alpha")


def _seed_counts(row: ClosingRow) -> str:
    return "/".join(format_mean(each) for each in (row.germinated, row.fossilized, row.pruned))


def _lines(view: Closing) -> Iterator[Text]:
    yield _status_line(view)
    total = view.total
    if total is None:
        return
    if any(row.first != row.last for row in view.rows):
        yield Text("rows of several rounds: means per round, best accuracy the best", "dim")
    if view.learning is not None:
        yield _learning_line(view)
    if view.ops:
        used = ", ".join(f"{_head(name)} {format_count(total.ops[name])}" for name in view.ops)
        yield Text(printable(f"ops used: {used}"))
    yield Text(_seeds(view))
    yield Text(_parameters(view))
    if view.mean_test_accuracy is not None:
        accuracy = format_fixed(view.mean_test_accuracy, 1)
        yield Text(f"test accuracy of the last round's hosts: {accuracy} %")


def _status_line(view: Closing) -> Text:
    name = " on ".join(part for part in (view.command, view.task) if part) or "run"
    total = view.total
    rounds = pluralize(total.rounds, "round") if total else "no round finished"
    line = Text(f"{printable(name)} ").append(view.status.value, _STATUS_STYLES[view.status])
    line.append(f": {rounds}")
    if view.seconds is not None:
        line.append(f" in {format_duration(view.seconds)}")
    if view.peak_memory_mb is not None:
        line.append(f", peak memory {format_count(view.peak_memory_mb)} MB")
    if view.error:
        line.append(f"; {printable(view.error)}")
    return line


def _learning_line(view: Closing) -> Text:
    learning = view.learning
    assert learning is not None
    which = "round" if learning.rounds == 1 else f"{learning.rounds} rounds"
    first, last = format_signed(learning.first), format_signed(learning.last)
    line = f"mean return: first {which} {first}, last {last}"
    if learning.first is None or learning.last is None:
        return Text(line)
    return Text(line).append(f" ({format_signed(learning.last - learning.first)})", "bold")


def _seeds(view: Closing) -> str:
    total = view.total
    assert total is not None
    line = (
        f"seeds: {format_count(total.germinated)} germinated, "
        f"{format_count(total.fossilized)} fossilized, {format_count(total.pruned)} pruned"
    )
    return f"{line}; {pluralize(total.rollbacks, 'rollback')}" if total.rollbacks else line


def _parameters(view: Closing) -> str:
    last = format_count(view.last.grown_parameters) if view.last else MISSING
    return (
        f"parameters grown: {last} a host in the last round, "
        f"born with {format_count(view.host_parameters)}"
    )
