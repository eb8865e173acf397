"""What the commands print: whole numbers at every width, and no escape sequences of others."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from esper_karn import SafeConsole
from esper_leyline.events import PAYLOADS, EnvironmentBuilt, RunStarted
from esper_nissa import Hub, JsonlSink, RunDirectory
from esper_simic.evaluation import (
    ArmResult,
    Comparison,
    Costs,
    Estimate,
    EvaluationResults,
    Verdict,
    evaluation_seeds,
)
from esper_tolaria import find_preset
from esper_train import main, viewer
from esper_train.dual import arm
from esper_train.dual.verdict import verdict_lines
from esper_train.evaluation.table import EvaluationTable

HOSTILE = "a\x1b[2J\x9b31m\r\x07\u202eb\nc"
"""A name with escape sequences, a carriage return, a bell, a bidi override and a new line."""

ODD = [float("nan"), float("inf"), 1e308, -1e308, -0.0, 1e12, 12345.678, 0.5, 63.2]
UNSEEN = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module", name="evaluation")
def evaluation_fixture(episode_result, evaluation_results):
    """Builds an evaluation of arms by name, from three numbers."""

    def build(*names: str, numbers: Sequence[float] = (62.5, 60.0, 65.0)) -> EvaluationResults:
        a, b, c = numbers
        interval = Estimate(value=a, low=b, high=c)
        costs = Costs(
            parameters=a,
            forward_flops=b,
            train_flops=c,
            validation_flops=a,
            total_flops=b,
            seconds=c,
        )
        episodes = [
            episode_result(seed, parameters=10**12, total_flops=10**16, germinated=10**12)
            for seed in evaluation_seeds(2)
        ]
        arms = [
            ArmResult(
                name=name,
                label=name,
                trained_on=name,
                accuracy=interval,
                accuracy_iqm=interval,
                costs=costs,
                wall_seconds=1.0,
                episodes=tuple(episodes),
            )
            for name in names
        ]
        comparison = Comparison(
            arm=names[0],
            baseline=names[-1],
            pairs=2,
            least_pairs=12,
            difference=interval,
            iqm_difference=interval,
            win_rate=interval,
            verdict=Verdict.UNDECIDED,
        )
        return evaluation_results(arms, comparisons=(comparison,))

    return build


def printed(results: EvaluationResults, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, _environ={})
    console.print(EvaluationTable(results))
    return console.file.getvalue()


def numbers_in(text: str) -> set[str]:
    """What holds a digit or is a number in words, without the names of what is left out."""
    table = re.sub(r"left out at \d+", "", text)
    pieces = set(re.split(r"[\s/–;:(),]+", table))
    return {piece for piece in pieces if re.search(r"\d|NaN|inf", piece)}


@settings(max_examples=30, deadline=None)
@given(width=st.integers(20, 300), numbers=st.lists(st.sampled_from(ODD), min_size=3, max_size=3))
def test_no_number_of_an_evaluation_is_cut_at_any_width(
    evaluation, width: int, numbers: list[float]
) -> None:
    results = evaluation("static", "random", numbers=numbers)
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    assert numbers_in(text) <= numbers_in(printed(results, 10_000))


def test_the_verdict_of_two_policies_writes_odd_numbers_short(evaluation) -> None:
    lines = verdict_lines(evaluation("shaped", "sparse", numbers=[float("nan"), -0.0, 1e308]))
    assert "NaN points of test accuracy (95 %: +0.0 to +1.0e308)" in lines[1]


def raw(text: str) -> list[str]:
    """The characters that must not reach a terminal."""
    return UNSEEN.findall(text)


def test_an_evaluation_prints_no_escape_sequence_of_a_label(evaluation) -> None:
    text = printed(evaluation(HOSTILE, "static"), 200)
    assert "\\x1b[2J\\x9b31m\\r\\x07\\u202eb\\nc" in text
    assert raw(text) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["ppo", f"--{HOSTILE}"],
        ["ppo", "--task", HOSTILE],
        ["ppo", "--config-json", HOSTILE],
        ["ppo", "--resume", f"{{}}/{HOSTILE}"],
        ["heuristic", "--task", HOSTILE],
        ["evaluate", "--arms", HOSTILE],
        ["tasks", "--device", HOSTILE],
    ],
)
def test_a_mistake_is_printed_without_its_escape_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([part.replace("{}", str(tmp_path)) for part in arguments]) == 2
    out, err = capsys.readouterr()
    assert raw(out + err) == []
    assert err.count("\n") == 1
    assert "\\x1b" in err


@pytest.mark.parametrize("program", [viewer, arm])
def test_the_processes_of_a_run_print_no_escape_sequence_of_their_arguments(
    program, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.main([HOSTILE, "--parent", HOSTILE, f"--{HOSTILE}"])
    _, err = capsys.readouterr()
    assert raw(err) == []
    assert err.count("\n") == 1


def test_tasks_name_a_folder_without_its_escape_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / HOSTILE
    assert main(["tasks", "--no-time", "--data-root", str(folder)]) == 0
    out, _ = capsys.readouterr()
    assert raw(out) == []
    assert "\\x1b[2J" in out


@pytest.mark.slow
def test_a_run_in_a_folder_with_escape_sequences_prints_no_escape_sequence(
    command, small, tmp_path
) -> None:
    folder = tmp_path / HOSTILE
    done = subprocess.run(
        command("ppo", *small, "--rounds", "1", "--runs", str(folder)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert raw(done.stdout + done.stderr) == []
    assert "\\x1b[2J" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("tasks", "--no-time"), ("--help",), ("ppo", "--help"), ("--version",)]
)
def test_a_command_whose_purpose_is_its_output_fails_on_a_full_disk(command, arguments) -> None:
    line = command(*arguments)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


_VIEW = """
import sys
from pathlib import Path
from esper_train.viewer import Viewer
viewer = Viewer.start(Path(sys.argv[1]), plain=False)
print(viewer._process.pid, file=sys.stderr, flush=True)
if sys.stdin.readline() == "end\\n":
    viewer.end()
else:
    viewer.finish()
"""


@pytest.fixture
def live_run(tmp_path: Path) -> Path:
    """A run that has begun and says nothing more."""
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_config(find_preset("mnist1d"))
    with Hub(run.run_id, [JsonlSink(run.events)], frozenset(PAYLOADS)) as hub:
        hub.emit(RunStarted(command="ppo", config=find_preset("mnist1d"), versions={}))
        hub.emit(EnvironmentBuilt(slots=("r0c0",), host_parameters=782))
    return run.path


def watched(run: Path, rows: int, columns: int, sent: int | None) -> tuple[bytes, int]:
    """Shows a run on a terminal, sends its view a signal, and ends it; all output, and its id."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"CI", "COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-c", _VIEW, str(run)],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"TERM": "xterm"},
    )
    os.close(theirs)
    assert process.stderr is not None
    child = int(process.stderr.readline())
    seen = b""
    while b"round 1/3" not in seen:
        seen += os.read(ours, 1024)
    if sent is not None:
        os.kill(child, sent)
    process.communicate("finish\n" if sent == signal.SIGKILL else "end\n", timeout=60)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while chunk := _read(terminal):
            seen += chunk
    assert process.returncode == 0
    return seen, child


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent", [None, signal.SIGSTOP, signal.SIGKILL], ids=["running", "stopped", "killed"]
)
def test_ending_the_view_gives_the_cursor_back(live_run: Path, sent: int | None) -> None:
    seen, child = watched(live_run, 20, 80, sent)
    assert b"\x1b[?25l" in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [None, signal.SIGKILL], ids=["ended", "killed"])
def test_the_dashboard_gives_the_terminal_back(live_run: Path, sent: int | None) -> None:
    seen, _ = watched(live_run, 40, 120, sent)
    assert b"\x1b[?1049h" in seen
    assert seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h")
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")


@pytest.mark.parametrize(
    ("environment", "moving"),
    [({}, True), ({"CI": "true"}, False), ({"TERM": "dumb"}, False)],
)
def test_the_view_moves_only_where_a_person_watches(
    environment, moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        assert viewer.is_moving(SafeConsole(terminal), plain=False) is moving
        assert not viewer.is_moving(SafeConsole(terminal), plain=True)
    os.close(ours)
    assert not viewer.is_moving(SafeConsole(io.StringIO()), plain=False)


def _read(terminal: io.RawIOBase) -> bytes:
    try:
        return terminal.read(1024) or b""
    except OSError:  # the other end is closed
        return b""


def test_only_the_trainer_ends_the_view() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert not viewer.has_no_writer(os.getppid())
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        with pytest.raises(viewer.EndedError):
            viewer.has_no_writer(os.getpid())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
