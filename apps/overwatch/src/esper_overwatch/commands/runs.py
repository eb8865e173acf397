"""Lists runs and shows one of them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from esper_karn import (
    ClosingTable,
    EventReader,
    Health,
    KarnError,
    Liveness,
    ProfilesTable,
    RunsTable,
    crash_command,
    fold,
    format_number,
    health,
    is_run_directory,
    liveness_text,
    peek,
    profiles,
    read_run,
    resolve_log,
)
from esper_leyline import printable
from esper_leyline.files.paths import os_reason
from esper_leyline.health import Level
from esper_leyline.run_lock import LockProbe
from esper_overwatch.errors import OverwatchError

_FOLDED = frozenset(
    {
        "run_started",
        "environment_built",
        "run_resumed",
        "episode_outcome",
        "round_completed",
        "ppo_update",
        "throughput",
        "vitals",
        "profile_measured",
    }
)
"""Kinds that health and profiles are computed from; the other lines of a log are not parsed."""

_OF_WHOLE_LOGS = ("telemetry", "stalled")
"""Checks that need every line of a log."""


def list_runs(folder: Path, console: Console, *, now: float) -> None:
    """Prints one row per run, the latest first.

    Args:
        folder: The runs folder.
        console: Where to print.
        now: Unix time, for ages.

    Raises:
        OverwatchError: If the folder is missing or has no run.
    """
    paths = find_runs(folder)
    glances = [peek(path) for path in paths]
    table = RunsTable(glances, now=now)
    console.print(table)
    for remark in table.remarks():
        console.print(remark, soft_wrap=True)
    for path, glance in zip(paths, glances, strict=True):
        if glance.liveness(now) is Liveness.CRASHED:
            _print_resume(path, glance.lock, console)


def show_run(path: Path, console: Console, *, now: float) -> None:
    """Prints the closing table of a run, the last profile of its hosts, and what is not well.

    Args:
        path: The run directory.
        console: Where to print.
        now: Unix time, for ages.

    Raises:
        EsperError: If there is no such run or it cannot be read.
    """
    record = read_run(path)
    console.print(Text(f"run {printable(record.run_id)}", "bold"), soft_wrap=True)
    console.print(ClosingTable(record.report))
    _print_state(path, console)
    liveness = record.liveness(now)
    if liveness is not Liveness.ENDED:
        text = liveness_text(liveness, record.lock, record.last_event, now, record.last_kind)
        console.print(Text(text), soft_wrap=True)
    if liveness is Liveness.CRASHED:
        _print_resume(path, record.lock, console)
    if record.resume is not None:
        console.print(Text(printable(f"resume with: {record.resume}")), soft_wrap=True)
    if record.unread is not None:
        console.print(Text(printable(record.unread), "yellow"), soft_wrap=True)


def _print_state(path: Path, console: Console) -> None:
    """Prints what a summary does not have: profiles of hosts, and checks that are not well."""
    try:
        with EventReader(resolve_log(path), kinds=_FOLDED) as reader:
            state = fold(reader.read())
    except KarnError as error:
        # The summary is enough for the table above.
        console.print(Text(printable(f"health not known: {error}"), "yellow"), soft_wrap=True)
        return
    console.print(ProfilesTable(profiles(state)))
    _print_health(health(state), console)


def _print_health(found: Health, console: Console) -> None:
    """Prints each check of a run that is not well, with its value, its threshold and advice."""
    for each in found.verdicts:
        if each.level in {Level.OK, Level.UNKNOWN} or each.name in _OF_WHOLE_LOGS:
            continue
        bound = f"{'below' if each.below else 'from'} {format_number(each.threshold, 3)}"
        where = f", {each.where}" if each.where else ""
        line = (
            f"{each.level.value}: {each.measures}: {format_number(each.value, 3)}{where} "
            f"({each.level.value} {bound}). {each.advice}"
        )
        console.print(Text(printable(line), "yellow"), soft_wrap=True)


def find_runs(folder: Path) -> list[Path]:
    """Returns the run directories in a folder, the latest first.

    Raises:
        OverwatchError: If the folder is missing, cannot be read, or has no run.
    """
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name, reverse=True)
    except OSError as error:
        raise OverwatchError(
            f"cannot list runs in '{folder}': {os_reason(error)}; name a folder of runs, "
            "for example that of esper-train's --runs"
        ) from error
    runs = [path for path in paths if is_run_directory(path)]
    if runs:
        return runs
    hint = (
        f"; it is a run itself: esper-overwatch show {folder}" if is_run_directory(folder) else ""
    )
    raise OverwatchError(f"no runs in '{folder}'{hint}")


def _print_resume(path: Path, lock: LockProbe, console: Console) -> None:
    command = crash_command(path, lock)
    if command is not None:
        console.print(Text(printable(f"resume with: {command}")), soft_wrap=True)
