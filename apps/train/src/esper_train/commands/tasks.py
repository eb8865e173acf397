"""``esper-train tasks``: the tasks, their hosts and data, and the time of an epoch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from esper_karn import (
    Column,
    FittedTable,
    SafeConsole,
    TableVariant,
    echo,
    format_count,
    format_number,
)
from esper_kasmina import build_host
from esper_leyline import CNNHostSpec, DataSpec, HostOptions, HostSpec, TaskSpec, TrainingConfig
from esper_leyline.files.paths import check_folder_of
from esper_tolaria import data_is_here, find_task, task_names
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import read_given
from esper_train.settings.machine import find_device
from esper_train.settings.options import TasksOptions
from esper_train.timing import epoch_seconds

_PLACEHOLDER = "#######"
"""Stands for a time that is not measured yet, and reserves its width."""


def run_tasks(*, options: TasksOptions, machine: SettingFlags) -> int:
    """Prints a line for each task and returns the process's exit code."""
    given = read_given(machine).values
    root = str(given.get("data_root", TrainingConfig().data_root))
    check_folder_of("--data-root", Path(root))
    device, _ = find_device(given.get("device"))
    tasks = [find_task(name).spec for name in task_names()]
    columns = _columns(tasks, Path(root))
    if options.no_time:
        SafeConsole().print(_table(columns))
    else:
        _print_measured(columns, tasks, device=device, root=root)
    for line in _legend(root, device, timed=not options.no_time):
        echo(line)
    return 0


def _table(columns: Sequence[Column]) -> FittedTable:
    return FittedTable(TableVariant(columns=columns), rule=False)


def _print_measured(
    columns: Sequence[Column], tasks: Sequence[TaskSpec], *, device: str, root: str
) -> None:
    """Prints the table row by row, each as soon as its task is measured."""
    blank = Column(head="epoch", cells=[_PLACEHOLDER] * len(tasks), rank=1)
    console = SafeConsole()
    with console.capture() as capture:
        console.print(_table([*columns, blank]))
    rows = iter(tasks)
    # A screen that is too narrow for the table has one value on each line.
    for line in capture.get().splitlines():
        text = line
        if _PLACEHOLDER in line:
            seconds = _measure(next(rows), device, root)
            text = line.replace(_PLACEHOLDER, f"{seconds:>{len(_PLACEHOLDER)}}")
        console.print(Text.from_ansi(text.rstrip()), soft_wrap=True)


def _columns(tasks: Sequence[TaskSpec], root: Path) -> list[Column]:
    here = [data_is_here(task, root) for task in tasks]
    return [
        Column(head="task", cells=[task.name for task in tasks], left=True),
        Column(head="host", cells=[_host(task.host) for task in tasks], rank=2, left=True),
        Column(
            head="parameters", cells=[format_count(_parameters(task)) for task in tasks], rank=3
        ),
        Column(head="rows", cells=[_rows(task.data) for task in tasks], rank=4, left=True),
        Column(head="here", cells=["yes" if each else "no" for each in here], left=True),
    ]


def _parameters(task: TaskSpec) -> int:
    host = build_host(task.host, HostOptions(slots=task.slots))
    return host.parameter_counts().host


def _host(spec: HostSpec) -> str:
    if spec.kind == "transformer":
        return f"gpt {spec.layers} x {spec.width}"
    sight = f" k{spec.kernel}" if isinstance(spec, CNNHostSpec) and spec.kernel != 3 else ""
    return f"{spec.kind} {'-'.join(map(str, spec.widths))}{sight}"


def _rows(data: DataSpec) -> str:
    return "/".join(map(_size, (data.train_size, data.validation_size, data.test_size)))


def _size(rows: int) -> str:
    return f"{rows // 1000}k" if rows % 1000 == 0 else str(rows)


def _measure(task: TaskSpec, device: str, root: str) -> str:
    if not data_is_here(task, Path(root)):
        return "-"
    return f"{format_number(epoch_seconds(task, device=device, data_root=root), 2)} s"


def _legend(root: str, device: str, *, timed: bool) -> list[str]:
    lines = [
        "",
        "host: blocks' widths, kernel 3 where no k says otherwise; a gpt's layers x width",
        "rows: for training/validation/test; a gpt's are sequences",
        f"here: where no, the first run downloads the data to '{root}' (--data-root)",
    ]
    if timed:
        lines.append(f"epoch: one host without seeds on {device}, trained and validated")
    return lines
