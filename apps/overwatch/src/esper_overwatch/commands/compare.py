"""Prints runs of one task side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from esper_karn import (
    MISSING,
    Column,
    FittedTable,
    SafeConsole,
    TableVariant,
    echo,
    format_count,
    format_number,
)
from esper_karn.formatting import format_duration, format_fixed, format_mean, format_signed
from esper_overwatch.commands.databases import open_named_runs
from esper_overwatch.commands.values import plain

if TYPE_CHECKING:
    from esper_karn.comparison.comparison import ComparedRun, RunComparison
    from esper_karn.comparison.pairing import Difference, PairedRun

_ABOUT_PAIRS = (
    "mean over the hosts with the same random seed in both runs, and its 95 % interval. A policy "
    "changes while it trains: esper-train evaluate compares finished policies"
)


def print_comparison(runs: Sequence[Path], console: SafeConsole, *, as_json: bool) -> None:
    """Prints runs side by side; the first one is the baseline.

    Args:
        runs: Run directories, two or more.
        console: Where to print tables.
        as_json: Whether to print one JSON object instead.

    Raises:
        EsperError: If a run cannot be read, or they trained different tasks.
    """
    with open_named_runs(runs, "esper-overwatch compare") as database:
        from esper_karn.analytics.comparison import compare_runs

        comparison = compare_runs(database)
    if as_json:
        echo(json.dumps(plain(asdict(comparison))))
        return
    for part in _report(comparison):
        console.print(part, soft_wrap=isinstance(part, Text) and not console.limited)


def _report(comparison: RunComparison) -> Iterator[RenderableType]:
    """Yields the parts of the printed comparison."""
    letters = {each.run: _letter(number) for number, each in enumerate(comparison.runs)}
    yield Text(f"task {comparison.task}", "bold")
    for run, letter in letters.items():
        yield Text(f"{letter}  {run}")
    yield Text()
    yield _figures(comparison, list(letters.values()))
    yield Text("\nconfiguration" if comparison.differences else "\nthe same configuration", "bold")
    if comparison.differences:
        yield _configuration(comparison, list(letters.values()))
    yield Text("\npaired differences", "bold")
    if comparison.paired:
        yield _paired(comparison.paired, letters)
    first, *others = letters
    known = {each.run for each in comparison.paired}
    for run in others:
        if run not in known:
            yield Text(f"{letters[run]}: no host was trained by both it and {letters[first]}")


def _letter(number: int) -> str:
    """Returns A to Z, then A1 to Z1 and so on."""
    return f"{chr(ord('A') + number % 26)}{number // 26 or ''}"


def _figures(comparison: RunComparison, letters: Sequence[str]) -> FittedTable:
    area = f"area, rounds 1–{comparison.area_rounds}"
    if comparison.area_rounds == 0:
        area = "area, no common round"
    rows: list[tuple[str, Callable[[ComparedRun], str]]] = [
        ("status", lambda run: run.status or MISSING),
        ("rounds", lambda run: format_count(run.rounds)),
        ("accuracy %, best", lambda run: format_fixed(run.accuracy.best, 2)),
        ("accuracy %, last", lambda run: format_fixed(run.accuracy.last, 2)),
        (f"accuracy %, {area}", lambda run: format_fixed(run.accuracy.area, 2)),
        ("return, best", lambda run: format_signed(run.mean_return.best)),
        ("return, last", lambda run: format_signed(run.mean_return.last)),
        (f"return, {area}", lambda run: format_signed(run.mean_return.area)),
        ("test accuracy %", lambda run: format_fixed(run.test_accuracy, 2)),
        ("wall time", lambda run: format_duration(run.seconds)),
        ("parameters of a host", lambda run: format_count(run.host_parameters)),
        ("parameters grown, last round", lambda run: _mean(run.grown_parameters)),
        ("parameters of the policy", lambda run: format_count(run.policy_parameters)),
        ("seeds fossilized", lambda run: format_count(run.fossilized)),
        ("seeds fossilized a host", lambda run: format_fixed(run.fossilized_per_host, 2)),
    ]
    columns = [Column(head="", cells=[name for name, _ in rows], left=True)]
    for letter, run in zip(letters, comparison.runs, strict=True):
        columns.append(Column(head=letter, cells=[cell(run) for _, cell in rows]))
    return FittedTable(TableVariant(columns=columns))


def _mean(value: float | None) -> str:
    return MISSING if value is None else format_mean(value)


def _configuration(comparison: RunComparison, letters: Sequence[str]) -> FittedTable:
    differences = comparison.differences
    columns = [Column(head="key", cells=[each.key for each in differences], left=True)]
    for place, letter in enumerate(letters):
        cells = [_setting(each.values[place]) for each in differences]
        columns.append(Column(head=letter, cells=cells, left=True, fold=True))
    return FittedTable(TableVariant(columns=columns))


def _setting(value: object) -> str:
    """Returns a value of a configuration with all its digits."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _paired(paired: Sequence[PairedRun], letters: dict[str, str]) -> FittedTable:
    accuracies = [each.accuracy for each in paired]
    returns = [each.episode_return for each in paired]
    names = [f"{letters[each.run]} minus {letters[each.baseline]}" for each in paired]
    hosts = [max(a.hosts, b.hosts) for a, b in zip(accuracies, returns, strict=True)]
    columns = [
        Column(head="", cells=names, left=True),
        Column(head="hosts", cells=[format_count(each) for each in hosts], rank=1),
        Column(head="accuracy", cells=[format_signed(each.mean) for each in accuracies]),
        Column(head="95 %", cells=[_interval(each) for each in accuracies], name="its interval"),
        Column(head="return", cells=[format_signed(each.mean) for each in returns]),
        Column(head="95 %", cells=[_interval(each) for each in returns], name="its interval"),
    ]
    return FittedTable(TableVariant(columns=columns, notes=[_ABOUT_PAIRS]))


def _interval(difference: Difference) -> str:
    low, high = difference.low, difference.high
    if low is None or high is None:
        return MISSING
    return f"{format_number(low, 2, sign=True)} to {format_number(high, 2, sign=True)}"
