"""Renders a list of runs as plain aligned lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from esper_karn.summaries import RunGlance
from esper_karn.wording import MISSING, age, plain, signed
from esper_leyline import RunStatus

COMPACT_WIDTH = 100
"""Below this many columns the task, which the id names too, has no column of its own."""

_HEADS = ("run", "task", "status", "rounds", "return", "acc %", "last event")
_RIGHT = frozenset({"rounds", "return", "acc %"})


class RunsTable:
    """A list of runs as something that Rich prints; print it with ``soft_wrap=True``.

    Lines are composed here and not by ``rich.table``, which needs a second for a
    thousand rows. Nothing is cut: an id is what one copies to look at a run.

    Args:
        glances: One a row, in this order.
        now: Unix time, for ages.
    """

    def __init__(self, glances: Sequence[RunGlance], *, now: float) -> None:
        self._glances = glances
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        compact = options.max_width < COMPACT_WIDTH
        columns = [name for name in _HEADS if not (compact and name == "task")]
        rows = [dict(zip(_HEADS, self._cells(each), strict=True)) for each in self._glances]
        table = [columns, *([row[name] for name in columns] for row in rows)]
        right = [name in _RIGHT for name in columns]
        for number, line in enumerate(_aligned(table, right)):
            yield Segment(line, Style(bold=True) if number == 0 else None)
            yield Segment.line()
        for each in self._glances:
            if each.problem is not None:
                yield Segment(f"{each.run_id}: {each.problem}", Style(color="yellow"))
                yield Segment.line()

    def _cells(self, each: RunGlance) -> tuple[str, ...]:
        planned = f"/{each.planned}" if each.planned else ""
        status = "unreadable" if each.status is None else each.status.value
        return (
            each.run_id,
            each.task or MISSING,
            "no end yet" if each.status is RunStatus.RUNNING else status,
            f"{each.rounds}{planned}",
            signed(each.last_return),
            plain(each.accuracy, 1),
            age(None if each.last_event is None else self._now - each.last_event),
        )


def _aligned(table: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = []
        for cell, width, to_right in zip(row, widths, right, strict=True):
            blank = " " * (width - cell_len(cell))
            cells.append(blank + cell if to_right else cell + blank)
        yield "  ".join(cells).rstrip()
