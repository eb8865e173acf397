"""``--overwatch`` and ``--dashboard``: the page of a run, while it trains."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from esper_leyline import TrainingConfig, override
from esper_tolaria import find_preset, find_task
from esper_train import main
from esper_train.pages import without_compiling
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan

RUN = ("ppo", "--task", "mnist1d_blind", "--device", "cpu", "--rounds", "1")


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line with which flags are refused before anything is created."""
    runs = tmp_path / "runs"
    assert main([*RUN, "--runs", str(runs), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not runs.exists() or not list(runs.iterdir())
    return error


@pytest.mark.parametrize("flag", ["--overwatch", "--dashboard"])
def test_there_is_nothing_to_show_without_telemetry(tmp_path, capsys, flag) -> None:
    error = refused(tmp_path, capsys, flag, "--telemetry-level", "off")
    assert flag in error
    assert "--telemetry-level off" in error


@pytest.mark.parametrize("flag", ["--overwatch", "--dashboard"])
def test_a_port_without_its_server_is_refused(tmp_path, capsys, flag) -> None:
    assert f"give {flag} too" in refused(tmp_path, capsys, f"{flag}-port", "9000")


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(tmp_path, capsys, port) -> None:
    assert port in refused(tmp_path, capsys, "--overwatch", f"--overwatch-port={port}")


@pytest.mark.parametrize("command", [RUN, ("heuristic", "--task", "mnist1d", "--device", "cpu")])
def test_a_taken_port_is_refused_before_the_run_begins(tmp_path, capsys, command) -> None:
    runs = tmp_path / "runs"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        flags = ("--overwatch", "--overwatch-port", port, "--runs", str(runs))
        assert main([*command, *flags]) == 2
    assert f"port {port} is taken" in capsys.readouterr().err
    assert not runs.exists() or not list(runs.iterdir())


def plan(**changes: object) -> Plan:
    task = find_task("mnist1d_blind")
    config: TrainingConfig = override(find_preset("mnist1d_blind"), dict(changes))
    return Plan(task=task, config=config, notes=("compile: the policy",), compile_mode="default")


@pytest.mark.parametrize("flag", ["overwatch", "dashboard"])
def test_nothing_is_compiled_while_a_page_is_open(flag) -> None:
    found = without_compiling(plan(), TelemetryOptions(**{flag: True}))
    assert found.compile_mode is None
    assert found.notes == (f"compile: nothing with --{flag}; --force-compile compiles anyway",)


def test_compiling_may_be_forced_while_a_page_is_open() -> None:
    forced = plan(compile={"force": True})
    assert without_compiling(forced, TelemetryOptions(overwatch=True)) is forced


def test_without_a_page_and_without_compiling_a_plan_stays() -> None:
    given = plan()
    assert without_compiling(given, TelemetryOptions()) is given
    eager = replace(given, compile_mode=None)
    assert without_compiling(eager, TelemetryOptions(overwatch=True)) is eager


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(each) for each in listed.split()]


def server_of(trainer: int) -> int:
    for child in children(trainer):
        words = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"esper_train.page_server" in words:
            return child
    raise AssertionError("the trainer has no page server")


def get(link: str, cookie: str | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = {} if cookie is None else {"Cookie": cookie}
    connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["completed", "server killed", "trainer killed"])
def test_a_run_can_be_watched_while_it_trains(command, small, tmp_path, ending) -> None:
    flags = ("--overwatch", "--overwatch-port", "0", "--dashboard", "--dashboard-port", "0")
    trainer = subprocess.Popen(
        command("ppo", *small, "--rounds", "2", "--runs", str(tmp_path), *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    while not any("dashboard: " in line for line in lines):
        lines.append(trainer.stdout.readline())
        assert lines[-1], lines
    (link,) = re.findall(r"Overwatch: (\S+)", "".join(lines))
    (run,) = [path.name for path in tmp_path.iterdir()]
    assert f"/r/{run}?token=" in link
    status, headers, _ = get(link)
    assert status == 303
    cookie = headers["set-cookie"].split(";")[0]
    address = urlsplit(link)
    status, _, body = get(f"http://{address.netloc}/api/runs/{run}/frame?view=run", cookie)
    assert status == 200
    assert run.encode() in body
    server = server_of(trainer.pid)
    if ending == "server killed":
        os.kill(server, signal.SIGKILL)
    if ending == "trainer killed":
        trainer.kill()
    rest, _ = trainer.communicate(timeout=300)
    assert trainer.returncode == (-signal.SIGKILL if ending == "trainer killed" else 0), rest
    if ending != "trainer killed":
        assert "esper-overwatch web" in rest
    for _ in range(100):
        if not Path(f"/proc/{server}").exists():
            break
        signal.sigtimedwait([], 0.1)
    assert not Path(f"/proc/{server}").exists() or "Z" in Path(f"/proc/{server}/stat").read_text()
