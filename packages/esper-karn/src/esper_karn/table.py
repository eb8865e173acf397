"""Renders a run's closing table with Rich, to the width it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from esper_karn.closing import Closing, ClosingRow, closing
from esper_karn.state import RunState
from esper_karn.wording import MISSING, count, duration, mean_count, plain, several, signed
from esper_leyline import RunStatus, RunSummary

COMPACT_WIDTH = 120
"""Below this many columns, tables and lines are compact."""

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
            compact = options.max_width < COMPACT_WIDTH
            yield _table(self.view, compact=compact)
            if compact:
                yield Text("seeds: germinated/fossilized/pruned", "dim")
        yield from _lines(self.view)


def _table(view: Closing, *, compact: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    heads = ["return", "acc%", "best%"] if compact else ["return", "accuracy %", "best %"]
    ops = [_OP_HEADS.get(name, name.lower()) if compact else _head(name) for name in view.ops]
    seeds = ["seeds"] if compact else ["germinated", "fossilized", "pruned"]
    for number, head in enumerate(["round", *heads, *ops, *seeds, "grown"]):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    previous = None
    for row in view.rows:
        if previous is not None and (previous.first == previous.last) != (row.first == row.last):
            table.add_section()
        table.add_row(*_cells(row, view.ops, compact=compact))
        previous = row
    return table


def _head(op: str) -> str:
    return op.lower().replace("_", " ").replace("set alpha target", "set alpha")


def _cells(row: ClosingRow, ops: tuple[str, ...], *, compact: bool) -> Iterator[str]:
    yield str(row.first) if row.first == row.last else f"{row.first}–{row.last}"
    yield signed(row.mean_return)
    yield plain(row.mean_accuracy, 1)
    yield plain(row.best_accuracy, 1)
    for name in ops:
        yield mean_count(row.ops.get(name, 0))
    seeds = [mean_count(each) for each in (row.germinated, row.fossilized, row.pruned)]
    if compact:
        yield "/".join(seeds)
    else:
        yield from seeds
    yield count(row.grown_parameters)


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
        used = ", ".join(f"{_head(name)} {total.ops[name]:,}" for name in view.ops)
        yield Text(f"ops used: {used}")
    yield Text(_seeds(view))
    yield Text(_parameters(view))
    if view.mean_test_accuracy is not None:
        accuracy = plain(view.mean_test_accuracy, 1)
        yield Text(f"test accuracy of the last round's hosts: {accuracy} %")


def _status_line(view: Closing) -> Text:
    name = " on ".join(part for part in (view.command, view.task) if part) or "run"
    total = view.total
    rounds = several(total.rounds, "round") if total else "no round finished"
    line = Text(f"{name} ").append(view.status.value, _STATUS_STYLES[view.status])
    line.append(f": {rounds}")
    if view.seconds is not None:
        line.append(f" in {duration(view.seconds)}")
    if view.peak_memory_mb is not None:
        line.append(f", peak memory {count(view.peak_memory_mb)} MB")
    if view.error:
        line.append(f"; {view.error}")
    return line


def _learning_line(view: Closing) -> Text:
    learning = view.learning
    assert learning is not None
    which = "round" if learning.rounds == 1 else f"{learning.rounds} rounds"
    line = f"mean return: first {which} {signed(learning.first)}, last {signed(learning.last)}"
    if learning.first is None or learning.last is None:
        return Text(line)
    return Text(line).append(f" ({signed(learning.last - learning.first)})", "bold")


def _seeds(view: Closing) -> str:
    total = view.total
    assert total is not None
    line = (
        f"seeds: {total.germinated:,} germinated, {total.fossilized:,} fossilized, "
        f"{total.pruned:,} pruned"
    )
    return f"{line}; {several(total.rollbacks, 'rollback')}" if total.rollbacks else line


def _parameters(view: Closing) -> str:
    last = count(view.last.grown_parameters) if view.last else MISSING
    return (
        f"parameters grown: {last} a host in the last round, "
        f"born with {count(view.host_parameters)}"
    )
