"""Both runs of a comparison, each in a process of its own: in turn, or side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

from esper_karn import KarnError, SafeConsole, echo, read_summary
from esper_leyline import RunStatus, RunSummary
from esper_nissa import RunDirectory
from esper_train.dual.pairing import ArmPlan, DualPlan
from esper_train.interrupts import StopRequest
from esper_train.settings.options import TelemetryOptions
from esper_train.storage import create_directory

POLL_SECONDS = 0.1
ENDING_SECONDS = 30.0
"""Seconds that a run may take to stop cleanly after a second signal."""
PRINTING_SECONDS = 5.0
_COLORS = frozenset({"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRun:
    """A run that was started, and its result.

    Attributes:
        summary: ``None`` if the process exited without writing a readable one.
    """

    mode: str
    directory: RunDirectory
    summary: RunSummary | None

    @property
    def completed(self) -> bool:
        """Whether the run reached its last round."""
        return self.summary is not None and self.summary.status is RunStatus.COMPLETED

    @property
    def checkpoint(self) -> str | None:
        """Path of the last checkpoint, if there is one."""
        if self.summary is None or self.summary.checkpoint is None:
            return None
        return str(self.directory.path / self.summary.checkpoint)

    @property
    def resume(self) -> str | None:
        """The command that resumes it; ``None`` if no round is left to train."""
        return None if self.summary is None else self.summary.resume


def train_both(
    plan: DualPlan, group: str, telemetry: TelemetryOptions, stop: StopRequest
) -> tuple[ArmRun, ...]:
    """Trains the arms; returns those that were started, in order.

    In turn, the second is started only if the first completed. In parallel, one continues if
    the other fails, because its policy can be used alone.
    """
    if plan.parallel:
        return _train(plan.arms, group, telemetry, stop)
    first, second = plan.arms
    runs = _train((first,), group, telemetry, stop)
    if not runs[0].completed or stop():
        return runs
    return runs + _train((second,), group, telemetry, stop)


def _train(
    arms: tuple[ArmPlan, ...], group: str, telemetry: TelemetryOptions, stop: StopRequest
) -> tuple[ArmRun, ...]:
    shared = len(arms) > 1
    started: list[tuple[ArmPlan, RunDirectory, subprocess.Popen[str]]] = []
    readers: list[threading.Thread] = []
    try:
        for arm in arms:
            directory = create_directory(arm.plan.config, telemetry)
            process = _start(directory, group, arm.mode if shared else None, telemetry)
            started.append((arm, directory, process))
            if process.stdout is not None:
                readers.append(_forward_output(arm.mode, process.stdout))
        _wait([process for *_, process in started], stop)
    finally:
        for *_, process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for reader in readers:
            # A child of a killed run may keep the pipe open.
            reader.join(PRINTING_SECONDS)
    return tuple(
        ArmRun(mode=arm.mode, directory=directory, summary=read_arm_summary(directory))
        for arm, directory, _ in started
    )


def _start(
    directory: RunDirectory, group: str, name: str | None, telemetry: TelemetryOptions
) -> subprocess.Popen[str]:
    """Starts a run; with a name its output is piped, and printed after that name."""
    command = [sys.executable, "-m", "esper_train.dual.arm", str(directory.path), "--group", group]
    if telemetry.no_tui or name is not None:
        command.append("--plain")
    if telemetry.wandb:
        command += ["--wandb", telemetry.wandb_options.model_dump_json()]
    environment = dict(os.environ)
    if name is not None:
        # Escape sequences of its output would be printed as text.
        environment = {key: value for key, value in environment.items() if key not in _COLORS}
        screen = SafeConsole()
        if screen.limited:
            environment["COLUMNS"] = str(max(screen.width - len(_prefix(name)), 40))
    # In its own process group: Ctrl-C reaches only this process, which forwards it once.
    return subprocess.Popen(  # noqa: S603 - our own module
        command,
        stdin=subprocess.PIPE,
        stdout=None if name is None else subprocess.PIPE,
        env=environment,
        text=True,
        process_group=0,
    )


def _wait(processes: list[subprocess.Popen[str]], stop: StopRequest) -> None:
    deadline: float | None = None
    while running := [process for process in processes if process.poll() is None]:
        try:
            with stop.breakable():
                if stop():
                    _close_stdin(running)
                running[0].wait(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:  # the second signal
            deadline = time.monotonic() + ENDING_SECONDS
            for process in running:
                process.terminate()
        if deadline is not None and time.monotonic() > deadline:
            for process in running:
                process.kill()


def _close_stdin(processes: list[subprocess.Popen[str]]) -> None:
    """Closes the standard input of the runs, which makes them stop cleanly."""
    for process in processes:
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def _forward_output(name: str, output: IO[str]) -> threading.Thread:
    def print_lines() -> None:
        for line in output:
            echo(f"{_prefix(name)}{line.rstrip()}".rstrip())

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    return thread


def _prefix(name: str) -> str:
    return f"{name} | "


def read_arm_summary(directory: RunDirectory) -> RunSummary | None:
    """Reads a run's summary; an unreadable one is reported and counts as none."""
    try:
        return read_summary(directory.summary)
    except KarnError as error:
        echo(f"warning: {error}")
        return None
