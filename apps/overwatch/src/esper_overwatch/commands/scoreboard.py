"""Prints what became of the seeds of each blueprint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from esper_karn import (
    MISSING,
    Column,
    FittedTable,
    SafeConsole,
    TableVariant,
    echo,
    format_count,
)
from esper_karn.formatting import format_signed
from esper_overwatch.commands.databases import open_database
from esper_overwatch.commands.values import plain

if TYPE_CHECKING:
    from esper_karn.analytics.scoreboard import BlueprintScore

_NOTE = (
    "contribution: points of accuracy at a seed's end, mean over the seeds of which it was "
    "measured; for 1,000 parameters: the sum over these seeds, divided by their parameters"
)


def print_scoreboard(runs: Sequence[Path], console: SafeConsole, *, as_json: bool) -> None:
    """Prints a row for each task and blueprint.

    Args:
        runs: Folders of runs, or runs.
        console: Where to print the table.
        as_json: Whether to print a JSON array instead.

    Raises:
        EsperError: If a folder is wrong.
    """
    with open_database(runs, "esper-overwatch scoreboard", "RUNS") as database:
        from esper_karn.analytics.scoreboard import score_blueprints

        scores = score_blueprints(database)
    if as_json:
        echo(json.dumps(plain([asdict(each) for each in scores])))
    elif scores:
        console.print(_table(scores))
    else:
        console.print(Text("no seed germinated in these runs", "dim"))


def _table(scores: Sequence[BlueprintScore]) -> FittedTable:
    tasks = [each.task or MISSING for each in scores]
    starts = frozenset(place for place in range(1, len(tasks)) if tasks[place - 1] != tasks[place])
    columns = [
        Column(head="task", cells=tasks, left=True),
        Column(head="blueprint", cells=[each.blueprint for each in scores], left=True),
        Column(head="germinated", cells=[format_count(each.germinated) for each in scores], rank=1),
        Column(head="fossilized", cells=[format_count(each.fossilized) for each in scores], rank=2),
        Column(head="pruned", cells=[format_count(each.pruned) for each in scores], rank=3),
        Column(head="unfinished", cells=[format_count(each.unfinished) for each in scores], rank=6),
        Column(
            head="contribution",
            cells=[format_signed(each.contribution) for each in scores],
            rank=4,
        ),
        Column(head="measured", cells=[format_count(each.measured) for each in scores], rank=7),
        Column(head="parameters", cells=[format_count(each.parameters) for each in scores], rank=5),
        Column(
            head="for 1,000",
            cells=[format_signed(each.contribution_per_1000) for each in scores],
            name="contribution for 1,000 parameters",
        ),
    ]
    return FittedTable(TableVariant(columns=columns, notes=[_NOTE]), breaks=starts)
