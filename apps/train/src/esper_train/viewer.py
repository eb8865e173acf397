"""The console view as a process of its own: it tails the run's log and prints.

The trainer starts it; if it dies, training goes on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from esper_karn import follow, guard_streams, resolve_log
from esper_train.interrupts import STOPPING, ignore_signals

DRAIN_SECONDS = 10.0


class Viewer:
    """A running console view."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, run: Path, *, plain: bool) -> Viewer:
        """Starts a view of a run on this process's standard output."""
        command = [sys.executable, "-m", "esper_train.viewer", str(run)]
        command += ["--parent", str(os.getpid())]
        if plain:
            command.append("--plain")
        with _interrupts_held_back():
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module
        return cls(process)

    def finish(self) -> int | None:
        """Waits until the view has shown the end of the log.

        Returns:
            Its exit code; ``None`` if it had to be ended.
        """
        try:
            return self._process.wait(timeout=DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            # It ignores polite signals, and a stopped process acts on none.
            self.end()
            return None

    def end(self) -> None:
        """Ends the view at once."""
        self._process.kill()
        self._process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Follows the log of one run until it ends or its trainer is gone."""
    parser = argparse.ArgumentParser(prog="esper_train.viewer")
    parser.add_argument("run", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args(arguments)
    guard_streams()
    # Ctrl-C reaches the whole terminal group; the trainer decides, and this view shows the end.
    ignore_signals()
    console = Console(no_color=True if options.plain else None)
    interactive = console.is_terminal and not options.plain
    follow(
        resolve_log(options.run),
        console,
        interactive=interactive,
        stop=_orphaned(options.parent),
    )
    return 0


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Lets a child be born deaf to Ctrl-C, which this process hears a moment later at most."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _orphaned(parent: int) -> Callable[[], bool]:
    return lambda: os.getppid() != parent


if __name__ == "__main__":
    raise SystemExit(main())
