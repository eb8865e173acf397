"""``esper-train tasks``: what there is to train on, and what it takes here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esper_kasmina import build_host
from esper_leyline import CNNHostSpec, HostSpec, LifecycleRules, TaskSpec, TrainingConfig
from esper_tolaria import TASKS, data_is_here, get_task
from esper_train.options import HardwareOptions, TasksOptions
from esper_train.paths import check_folder_of
from esper_train.resolve import find_device
from esper_train.session import say
from esper_train.timing import epoch_seconds

_HEADS = ("task", "host", "parameters", "rows", "here")
_TIME_HEAD = "epoch"
_TIME_WIDTH = 7
_NUMBERS = frozenset({"parameters", _TIME_HEAD})


def run_tasks(*, options: TasksOptions, hardware: HardwareOptions) -> int:
    """Prints a line a task and returns the process's exit code."""
    root = str(hardware.data_root or TrainingConfig().data_root)
    check_folder_of("--data-root", Path(root))
    device, _ = find_device(hardware.device)
    tasks = [get_task(name) for name in TASKS]
    known = [_describe(task, Path(root)) for task in tasks]
    widths = [max(map(len, column)) for column in zip(_HEADS, *known, strict=True)]
    heads: tuple[str, ...] = _HEADS
    timed = not options.no_time
    if timed:
        heads, widths = (*_HEADS, _TIME_HEAD), [*widths, _TIME_WIDTH]
    say(_line(heads, heads, widths))
    for task, cells in zip(tasks, known, strict=True):
        measured = [_measure(task, device, root)] if timed else []
        say(_line([*cells, *measured], heads, widths))
    for line in _legend(root, device, timed=timed):
        say(line)
    return 0


def _describe(task: TaskSpec, root: Path) -> tuple[str, ...]:
    host = build_host(task.host, slots=task.slots, rules=LifecycleRules(), max_seeds=None, seed=0)
    data = task.data
    sizes = (data.train_size, data.validation_size, data.test_size)
    return (
        task.name,
        _host(task.host),
        f"{host.parameter_counts().host:,}",
        "/".join(map(_rows, sizes)),
        "yes" if data_is_here(data, root) else "no",
    )


def _host(spec: HostSpec) -> str:
    if spec.kind == "transformer":
        return f"gpt {spec.layers} x {spec.width}"
    sight = f" k{spec.kernel}" if isinstance(spec, CNNHostSpec) and spec.kernel != 3 else ""
    return f"{spec.kind} {'-'.join(map(str, spec.widths))}{sight}"


def _rows(count: int) -> str:
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


def _measure(task: TaskSpec, device: str, root: str) -> str:
    if not data_is_here(task.data, Path(root)):
        return "-"
    return f"{epoch_seconds(task, device=device, data_root=root):.2f} s"


def _line(cells: Sequence[str], heads: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
        for cell, head, width in zip(cells, heads, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()


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
