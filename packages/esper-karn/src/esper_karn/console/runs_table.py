"""Prints a list of runs, and remarks on single ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn.formatting import MISSING, format_age, format_fixed, format_index, format_signed
from esper_karn.runs.liveness import DOUBTFUL, liveness_text
from esper_karn.runs.records import RunPeek
from esper_karn.terminal.layout import Column, FittedTable, TableVariant
from esper_leyline import printable


class RunsTable:
    """A list of runs for a Rich console. An id is never cut.

    Args:
        runs: One per row, in this order.
        now: Unix time, for ages.
    """

    def __init__(self, runs: Sequence[RunPeek], *, now: float) -> None:
        self._runs = runs
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield FittedTable(TableVariant(columns=self._columns()), rule=False)

    def remarks(self) -> Iterator[Text]:
        """Yields a line for each run that crashed, is stale, cannot be read or has a note."""
        for each in self._runs:
            for remark in (each.problem, each.note, self._doubt(each)):
                if remark is not None:
                    yield Text(printable(f"{each.run_id}: {remark}"), "yellow")

    def _doubt(self, run: RunPeek) -> str | None:
        liveness = run.liveness(self._now)
        if liveness is None or liveness not in DOUBTFUL:
            return None
        return liveness_text(liveness, run.lock, run.last_event, self._now, run.last_kind)

    def _columns(self) -> list[Column]:
        runs = self._runs
        lasts = [each.last_round for each in runs]
        returns = [format_signed(each.mean_return if each else None) for each in lasts]
        accuracies = [format_fixed(each.mean_accuracy if each else None, 1) for each in lasts]
        return [
            Column(head="run", cells=[each.run_id for each in runs], left=True),
            Column(head="task", cells=[each.task or MISSING for each in runs], rank=5, left=True),
            Column(head="status", cells=[each.status_text(self._now) for each in runs], left=True),
            Column(head="rounds", cells=[_rounds(each) for each in runs], rank=1),
            Column(head="return", cells=returns, rank=3),
            Column(head="acc %", cells=accuracies, rank=2),
            Column(head="last event", cells=[self._age(each) for each in runs], rank=4, left=True),
        ]

    def _age(self, run: RunPeek) -> str:
        return format_age(None if run.last_event is None else self._now - run.last_event)


def _rounds(run: RunPeek) -> str:
    done = format_index(run.rounds_done)
    return f"{done}/{format_index(run.rounds_total)}" if run.rounds_total else done
