"""Sanctum as a process of its own, for ``--sanctum``.

A console view (``viewer``) starts it and waits for it, so that the terminal is restored, and the
view goes on with lines, however Sanctum ends. The trainer notices nothing of it but Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from esper_karn import echo, guard_streams
from esper_karn.terminal.device import Terminal
from esper_karn.tui.leaving import Leaving
from esper_leyline.files.caches import user_cache
from esper_train.arguments import ArgumentParser
from esper_train.interrupts import ignore_signals

ENDING_SECONDS = 1.0
"""Seconds that Sanctum may take to leave the screen."""

POLL_SECONDS = 0.1


def show_sanctum(run: Path, *, trainer: int, since: int, stop: Callable[[], bool]) -> bool:
    """Shows a run in Sanctum until it ends, the user leaves, or Sanctum is killed.

    Args:
        run: The run's directory.
        trainer: The process to stop when the user presses Ctrl-C.
        since: Sequence number of the first event of that process.
        stop: Whether that process is gone; what it raises ends Sanctum.

    Returns:
        Whether Sanctum has shown the run's end.
    """
    terminal = Terminal.now()
    command = [sys.executable, "-m", "esper_train.sanctum", str(run)]
    command += ["--trainer", str(trainer), "--since", str(since)]
    # It draws on standard error, which may be a file here.
    process = subprocess.Popen(command, stderr=subprocess.STDOUT)  # noqa: S603 - our own module
    try:
        while process.poll() is None and not stop():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=POLL_SECONDS)
    finally:
        _end(process)
        left = process.returncode in set(Leaving)
        if not left:
            terminal.restore()
    if not left:
        echo(f"Sanctum {_fate(process.returncode)}; the run goes on")
    return process.returncode == Leaving.ENDED


def main(arguments: list[str] | None = None) -> int:
    """Shows a run; returns why it was left."""
    parser = ArgumentParser(prog="esper_train.sanctum")
    parser.add_argument("run", type=Path)
    parser.add_argument("--trainer", type=int, required=True)
    parser.add_argument("--since", type=int, default=0)
    options = parser.parse_args(arguments)
    parent = os.getppid()
    guard_streams()
    ignore_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    from esper_karn.tui.app import Sanctum
    from esper_karn.tui.source import RunSource

    source = RunSource(options.run, user_cache("snapshots"))
    app = Sanctum(
        source,
        since=options.since,
        interrupt=lambda: os.kill(options.trainer, signal.SIGINT),
        alone=lambda: os.getppid() != parent,
    )
    gc.freeze()  # What was imported stays, so that collections, which delay frames, pass over it.
    app.run()
    source.close()
    return int(app.return_value) if app.return_value is not None else app.return_code or 1


def _fate(code: int) -> str:
    """Describes how a process ended by itself."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"failed with exit code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # it hangs, or is stopped
        process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
