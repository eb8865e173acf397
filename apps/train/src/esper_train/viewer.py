"""The console view as a process of its own: it tails the run's log and prints.

The trainer starts it; if it dies, training continues.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from esper_karn import SafeConsole, follow, guard_streams, has_room, resolve_log, watch
from esper_karn.terminal.device import Terminal
from esper_train.arguments import ArgumentParser
from esper_train.interrupts import STOPPING, ignore_signals
from esper_train.sanctum import show_sanctum

DRAIN_SECONDS = 10.0
"""Seconds that a view may take to show the end of a log."""

ENDING_SECONDS = 3.0
"""Seconds that it may take to exit after SIGTERM."""

POLL_SECONDS = 0.2
ENDED = 143
"""Exit code of a view that the trainer terminated."""


class Viewer:
    """A running console view."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        plain: bool,
        full_screen: bool,
        terminal: Terminal | None = None,
    ) -> None:
        self._process = process
        self._plain = plain
        self._full_screen = full_screen
        self._terminal = terminal

    @classmethod
    def start(
        cls,
        run: Path,
        *,
        plain: bool,
        full_screen: bool = True,
        sanctum: bool = False,
        since: int = 0,
    ) -> Viewer:
        """Starts a view of a run on this process's standard output.

        Args:
            run: The run directory.
            plain: Whether to print plain lines, also on a terminal.
            full_screen: Whether it may take the whole of a terminal.
            sanctum: Whether it is Sanctum, and lines only after that was left.
            since: Sequence number of the first event that is shown.
        """
        command = [sys.executable, "-m", "esper_train.viewer", str(run)]
        command += ["--parent", str(os.getpid()), "--since", str(since)]
        if plain:
            command.append("--plain")
        if not full_screen:
            command.append("--lines")
        if sanctum:
            command.append("--sanctum")
        terminal = Terminal.now() if sanctum else None
        with _signals_blocked():
            process = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=None if sanctum else subprocess.DEVNULL
            )
        return cls(process, plain=plain, full_screen=full_screen, terminal=terminal)

    def finish(self) -> int | None:
        """Waits until the view has shown the end of the log.

        Returns:
            Its exit code; ``None`` if it had to be ended.
        """
        try:
            code = self._process.wait(timeout=DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            # A view that hangs or is stopped (SIGSTOP) has to be killed.
            self.end()
            return None
        self._restore_terminal()
        return code

    def end(self) -> None:
        """Terminates the view within seconds, and shows the cursor again."""
        deadline = time.monotonic() + ENDING_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=POLL_SECONDS)
        if self._process.poll() is None:
            # A stopped process (SIGSTOP) handles no other signal.
            self._process.kill()
            self._process.wait()
        self._restore_terminal()

    def _restore_terminal(self) -> None:
        """Leaves the full screen and shows the cursor where a view that was killed could not."""
        if self._process.returncode in {0, ENDED}:
            return
        if self._terminal is not None:
            self._terminal.restore()
            return
        console = SafeConsole()
        if not self._plain and is_moving(console, plain=False):
            if self._full_screen and has_room(console):
                console.set_alt_screen(False)
            console.show_cursor()


def main(arguments: list[str] | None = None) -> int:
    """Follows the log of one run until it ends or its trainer is gone."""
    parser = ArgumentParser(prog="esper_train.viewer")
    parser.add_argument("run", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--sanctum", action="store_true")
    parser.add_argument("--since", type=int, default=0)
    options = parser.parse_args(arguments)
    guard_streams()
    # Blocked, and read by ``has_no_writer``: only the trainer may end this view.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Ctrl-C reaches the whole process group; the trainer stops, and this view shows its end.
    ignore_signals()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    console = SafeConsole(colors=not options.plain)
    log, stop = resolve_log(options.run), partial(has_no_writer, options.parent)
    moving = is_moving(console, plain=options.plain)
    try:
        if options.sanctum and show_sanctum(
            options.run, trainer=options.parent, since=options.since, stop=stop
        ):
            return 0
        # On the whole of the terminal no more, once Sanctum was left.
        if moving and not (options.lines or options.sanctum) and has_room(console):
            watch(log, console, stop=stop, since=options.since)
        else:
            follow(log, console, interactive=moving, stop=stop, since=options.since)
    except EndedError:
        return ENDED
    return 0


def is_moving(console: SafeConsole, *, plain: bool) -> bool:
    """Whether the view may move the cursor: on a terminal that can, with a person before it."""
    return (
        not plain
        and console.is_terminal
        and not console.is_dumb_terminal
        and not os.environ.get("CI")
    )


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Blocks stopping signals while the child starts; they are delivered afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class EndedError(Exception):
    """The trainer has terminated the view."""


def has_no_writer(parent: int) -> bool:
    """Whether the trainer has exited.

    Raises:
        EndedError: If the trainer, and not the terminal or a scheduler, sent ``SIGTERM``.
    """
    sent = signal.sigtimedwait({signal.SIGTERM}, 0)
    if sent is not None and sent.si_pid == parent:
        raise EndedError
    return os.getppid() != parent


if __name__ == "__main__":
    raise SystemExit(main())
