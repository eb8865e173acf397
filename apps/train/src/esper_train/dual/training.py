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
from esper_train.session import create_directory
from esper_train.settings.options import TelemetryOptions

POLL_SECONDS = 0.1
ENDING_SECONDS = 30.0
"""How long a run may take to end in order after a second signal."""
PRINTING_SECONDS = 5.0
_COLORS = frozenset({"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRun:
    """A run that was begun, and how it ended.

    Attributes:
        summary: ``None`` where the process ended without writing one that can be read.
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
        """The command that goes on from there; ``None`` where no round is left to train."""
        return None if self.summary is None else self.summary.resume


def train_both(
    plan: DualPlan, group: str, telemetry: TelemetryOptions, stop: StopRequest
) -> tuple[ArmRun, ...]:
    """Trains the arms; returns those that were begun, in order.

    In turn, the second is not begun unless the first completed. Side by side, one goes on
    when the other fails: its policy is of use by itself.
    """
    if plan.apart:
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
    begun: list[tuple[ArmPlan, RunDirectory, subprocess.Popen[str]]] = []
    pumps: list[threading.Thread] = []
    try:
        for arm in arms:
            directory = create_directory(arm.plan.config, telemetry)
            process = _start(directory, group, arm.mode if shared else None, telemetry)
            begun.append((arm, directory, process))
            if process.stdout is not None:
                pumps.append(_pump(arm.mode, process.stdout))
        _wait([process for *_, process in begun], stop)
    finally:
        for *_, process in begun:
            if process.poll() is None:
                process.kill()
                process.wait()
        for pump in pumps:
            # A process that a killed run left behind may hold the pipe open.
            pump.join(PRINTING_SECONDS)
    return tuple(
        ArmRun(mode=arm.mode, directory=directory, summary=read_arm_summary(directory))
        for arm, directory, _ in begun
    )


def _start(
    directory: RunDirectory, group: str, name: str | None, telemetry: TelemetryOptions
) -> subprocess.Popen[str]:
    """Starts a run; with a name its output is piped, to be printed with that before it."""
    command = [sys.executable, "-m", "esper_train.dual.arm", str(directory.path), "--group", group]
    if telemetry.no_tui or name is not None:
        command.append("--plain")
    environment = dict(os.environ)
    if name is not None:
        # Its escape sequences would be escaped here.
        environment = {key: value for key, value in environment.items() if key not in _COLORS}
        screen = SafeConsole()
        if screen.limited:
            environment["COLUMNS"] = str(max(screen.width - len(_prefix(name)), 40))
    # A process group of its own: a Ctrl-C reaches this process alone, which passes it on once.
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
                    _let_go(running)
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


def _let_go(processes: list[subprocess.Popen[str]]) -> None:
    """Closes the lifelines; a run that was let go ends in order."""
    for process in processes:
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def _pump(name: str, output: IO[str]) -> threading.Thread:
    def print_lines() -> None:
        for line in output:
            echo(f"{_prefix(name)}{line.rstrip()}".rstrip())

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    return thread


def _prefix(name: str) -> str:
    return f"{name} | "


def read_arm_summary(directory: RunDirectory) -> RunSummary | None:
    """Reads how a run ended; a summary that cannot be read is reported and counts as none."""
    try:
        return read_summary(directory.summary)
    except KarnError as error:
        echo(f"warning: {error}")
        return None
