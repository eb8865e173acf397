"""Renders a list of runs, and what there is to say of single ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn.console.layout import Column, FittedTable, TableVariant
from esper_karn.formatting import MISSING, format_age, format_fixed, format_index, format_signed
from esper_karn.runs.records import RunPeek
from esper_leyline import RunStatus, printable


class RunsTable:
    """A list of runs as something that Rich prints. An id is never cut.

    Args:
        glances: One a row, in this order.
        now: Unix time, for ages.
    """

    def __init__(self, glances: Sequence[RunPeek], *, now: float) -> None:
        self._glances = glances
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield FittedTable(TableVariant(columns=self._columns()), rule=False)

    def remarks(self) -> Iterator[Text]:
        """Yields a line for each run that cannot be read, or of which something is to be said."""
        for each in self._glances:
            for remark in (each.problem, each.note):
                if remark is not None:
                    yield Text(printable(f"{each.run_id}: {remark}"), "yellow")

    def _columns(self) -> list[Column]:
        runs = self._glances
        ages = [None if each.last_event is None else self._now - each.last_event for each in runs]
        return [
            Column(head="run", cells=[each.run_id for each in runs], left=True),
            Column(head="task", cells=[each.task or MISSING for each in runs], rank=5, left=True),
            Column(head="status", cells=[_status(each) for each in runs], left=True),
            Column(head="rounds", cells=[_rounds(each) for each in runs], rank=1),
            Column(head="return", cells=[format_signed(each.last_return) for each in runs], rank=3),
            Column(head="acc %", cells=[format_fixed(each.accuracy, 1) for each in runs], rank=2),
            Column(head="last event", cells=[format_age(each) for each in ages], rank=4, left=True),
        ]


def _status(run: RunPeek) -> str:
    if run.status is None:
        return "unreadable"
    return "no end yet" if run.status is RunStatus.RUNNING else run.status.value


def _rounds(run: RunPeek) -> str:
    return (
        f"{format_index(run.rounds)}/{format_index(run.planned)}"
        if run.planned
        else format_index(run.rounds)
    )
