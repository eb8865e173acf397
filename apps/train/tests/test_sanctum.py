"""``--sanctum``: what excludes it, and that training and the terminal outlive it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from esper_karn.terminal.device import RESTORE, Terminal, why_no_terminal
from esper_leyline import TrainingConfig, override
from esper_tolaria import find_preset, find_task
from esper_train import main
from esper_train.pages import without_compiling
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan

RUN = ("ppo", "--task", "mnist1d_blind", "--device", "cpu", "--rounds", "1")
OWN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from esper_train import main
sys.exit(main([*sys.argv[1:], "--sanctum"]))
"""
SECONDS = 120.0
"""Seconds within which something must appear on the terminal."""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--overwatch",), "--sanctum and --overwatch exclude each other"),
        (("--no-tui",), "--sanctum and --no-tui exclude each other"),
        (("--telemetry-level", "off"), "--telemetry-level off writes none"),
        (("--dual-ab", "shaped-vs-simplified"), "--sanctum does not go with --dual-ab"),
        ((), "--sanctum needs a terminal: standard"),
    ],
)
def test_what_excludes_sanctum_is_one_line(tmp_path, capsys, flags, said) -> None:
    runs = tmp_path / "runs"
    assert main([*RUN, "--sanctum", *flags, "--runs", str(runs)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not runs.exists() or not list(runs.iterdir())


def test_the_heuristic_has_it_too(tmp_path, capsys) -> None:
    assert main(["heuristic", "--sanctum", "--no-tui", "--runs", str(tmp_path)]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_missing_library_is_one_line(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("esper_leyline.extras.is_installed", lambda library: False)
    assert main([*RUN, "--sanctum", "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "uv sync --extra tui" in error
    assert error.count("\n") == 1


def test_nothing_is_compiled_while_sanctum_is_open() -> None:
    config: TrainingConfig = find_preset("mnist1d_blind")
    task = find_task("mnist1d_blind")
    plan = Plan(task=task, config=config, notes=("compile: the policy",), compile_mode="default")
    found = without_compiling(plan, TelemetryOptions(sanctum=True))
    assert found.compile_mode is None
    assert found.notes == ("compile: nothing with --sanctum; --force-compile compiles anyway",)
    forced = Plan(task=task, config=override(config, {"compile": {"force": True}}), notes=())
    assert without_compiling(forced, TelemetryOptions(sanctum=True)) is forced


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_without_movements_is_none(term, monkeypatch) -> None:
    monkeypatch.setattr("os.isatty", lambda number: True)
    monkeypatch.setenv("TERM", term)
    assert f"'{term}'" in str(why_no_terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert why_no_terminal() is None
    monkeypatch.setattr("os.isatty", lambda number: number != 2)
    assert why_no_terminal((0, 1, 2)) == "standard error is not a terminal"


def test_without_a_terminal_there_is_nothing_to_restore(capfd) -> None:
    Terminal(None).restore()
    assert capfd.readouterr().out == RESTORE


@dataclass
class Watched:
    """A trainer on a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    terminal: int
    settings: list
    seen: bytes = b""
    found: list[int] = field(default_factory=list)

    def until(self, text: bytes, since: int = 0) -> int:
        """Reads until a text appears; returns where it ends."""
        deadline = time.monotonic() + SECONDS
        while (at := self.seen.find(text, since)) < 0:
            assert time.monotonic() < deadline, self.seen[since:][-2000:]
            if not self._read(1.0) and self.process.poll() is not None:
                at = self.seen.find(text, since)
                assert at >= 0, self.seen[since:][-2000:]
                break
        return at + len(text)

    def rest(self) -> str:
        """Reads until the trainer has ended; returns all that was printed."""
        deadline = time.monotonic() + SECONDS
        while self._read(0.5) or self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
        return self.seen.decode(errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self.terminal, key)

    def _read(self, seconds: float) -> bool:
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self.terminal, 65_536)
        except OSError:  # the other end is closed
            return False
        self.seen += chunk
        return bool(chunk)


@pytest.fixture
def watch(small, tmp_path):
    """Starts a run with Sanctum on a pseudo-terminal of its own."""
    started: list[Watched] = []

    def start(*flags: str) -> Watched:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        settings = termios.tcgetattr(theirs)
        environment = {k: v for k, v in os.environ.items() if k not in {"CI", "COLUMNS", "LINES"}}

        process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, "ppo", *small, "--runs", str(tmp_path), *flags],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        watched = Watched(process, ours, settings)
        started.append(watched)
        watched.theirs = theirs
        return watched

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        os.close(each.terminal)
        os.close(each.theirs)


def sanctum_of(trainer: int) -> int:
    """The process of Sanctum: a child of the view of a trainer."""
    for view in children(trainer):
        for child in children(view):
            if b"esper_train.sanctum" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    raise AssertionError("the trainer has no Sanctum")


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(each) for each in listed.split()]


def check_restored(watched: Watched, output: str) -> None:
    """Checks that the terminal is as it was before."""
    assert termios.tcgetattr(watched.theirs) == watched.settings
    for on, off in (
        ("\x1b[?1049h", "\x1b[?1049l"),
        ("\x1b[?25l", "\x1b[?25h"),
        ("\x1b[?1003h", "\x1b[?1003l"),
        ("\x1b[?2004h", "\x1b[?2004l"),
    ):
        assert output.rfind(off) > output.rfind(on) >= 0, (on, off)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)


LONG = ("--rounds", "16")


@pytest.mark.slow
def test_sanctum_leaves_at_the_end_and_the_table_stays(watch) -> None:
    watched = watch("--rounds", "2")
    watched.until(b"\x1b[?1049h")
    output = watched.rest()
    assert watched.process.wait() == 0
    check_restored(watched, output)
    after = plain(output[output.rfind("\x1b[?1049l") :])
    assert "completed" in after
    assert "run directory:" in after
    assert "ended early" not in after


@pytest.mark.slow
@pytest.mark.parametrize("how", ["q", "killed"])
def test_training_goes_on_with_lines_without_sanctum(watch, how) -> None:
    watched = watch(*LONG)
    at = watched.until(b"/16")
    if how == "q":
        watched.press(b"q")
    else:
        os.kill(sanctum_of(watched.process.pid), signal.SIGKILL)
    at = watched.until(b"\x1b[?1049l", at)
    output = watched.rest()
    assert watched.process.wait() == 0
    check_restored(watched, output)
    after = plain(output[output.rfind("\x1b[?1049l") :])
    assert ("Sanctum was killed by SIGKILL; the run goes on" in after) == (how == "killed")
    assert "16/16" in after
    assert "completed" in after


@pytest.mark.slow
def test_ctrl_c_in_sanctum_stops_the_run_and_saves_it(watch) -> None:
    watched = watch(*LONG)
    at = watched.until(b"/16")
    watched.press(b"\x03")
    watched.until(b"stop the run?", at)
    watched.press(b"y")
    output = watched.rest()
    assert watched.process.wait() == 130
    check_restored(watched, output)
    after = plain(output[output.rfind("\x1b[?1049l") :])
    assert "interrupted" in after
    assert "resume with:" in after


@pytest.mark.slow
def test_a_sanctum_that_hangs_does_not_hold_the_end_up(watch) -> None:
    watched = watch("--rounds", "2")
    at = watched.until(b"\x1b[?1049h")
    watched.until(b"round ", at)
    os.kill(sanctum_of(watched.process.pid), signal.SIGSTOP)
    output = watched.rest()
    assert watched.process.wait() == 0
    check_restored(watched, output)
