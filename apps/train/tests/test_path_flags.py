"""Every flag that takes a path, on what is no such path: one line, exit code 2, nothing created."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from .arguments import MAINS, arguments


def path_flags() -> Iterator[tuple[str, str, str]]:
    """Finds program, command and name of every argument that is a path."""
    for program, command, name, hint in arguments():
        if Path in {hint, *get_args(hint)}:
            yield program, command, name


FLAGS = [*path_flags(), ("esper-train", "evaluate", "--arms")]

WRITTEN = {"--save", "--telemetry-file"}
"""Flags that name a file to write."""

FOLDERS = {
    *("--runs", "--telemetry-dir", "--data-root", "--out"),
    *("FOLDER", "RUNS_FOLDER", "RUN", "RUNS"),
}
"""Arguments that name a folder."""

SMALL = {
    "ppo": ["--rounds", "1", "--envs", "1", "--episode-length", "1"],
    "heuristic": ["--max-epochs", "1", "--max-batches", "1"],
    "evaluate": ["--seeds", "2", "--max-epochs", "1"],
    "tasks": ["--no-time"],
    "config": ["--json"],
}
"""Flags that make a command short if it is not refused."""

OVERWATCH = {
    **dict.fromkeys(("export", "picture", "plot", "wandb"), "missing-run"),
    "sql": "SELECT 1",
}
"""The first argument of a command of esper-overwatch."""


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # the name is short, so it is bound in the current folder


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "zeros": lambda path: path.symlink_to("/dev/zero"),
    "full": lambda path: path.symlink_to("/dev/full"),
    "loop": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("missing"),
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),
    "sparse": lambda path: truncate(path, 1 << 36),
    "folder": lambda path: path.mkdir(),
    "file": lambda path: path.write_text("text\n"),
}


def truncate(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


def fits(command: str, flag: str, kind: str) -> bool:
    """Whether this is what the flag asks for."""
    if command == "config" and flag == "--telemetry-file" and kind in {"file", "sparse"}:
        return True  # it writes no log
    if (command, flag) == ("export", "--to"):
        return kind == "folder"
    if (command, flag) in {("picture", "--out"), ("plot", "--to")}:
        return kind in {"file", "sparse", "nowhere", "unreadable"}
    if flag in FOLDERS:
        return kind == "folder" and flag not in {"RUNS_FOLDER", "RUN", "RUNS"}
    if flag == "--save":
        return kind in {"file", "sparse", "nowhere", "unreadable"}
    return flag == "--telemetry-file" and kind in {"nowhere", "unreadable"}


CASES = [(*flag, kind) for flag in FLAGS for kind in KINDS if not fits(flag[1], flag[2], kind)]


def words(command: str, flag: str) -> list[str]:
    """Returns a command line up to the value of a flag."""
    if not flag.startswith("--"):
        return [command]
    if command in OVERWATCH:
        return [command, OVERWATCH[command], flag]
    rest = [] if flag == "--resume" else ["--device", "cpu", *SMALL[command]]
    return [command, *rest, flag]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_bad_path_is_refused(
    case: tuple[str, str, str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, command, flag, kind = case
    monkeypatch.chdir(tmp_path)
    KINDS[kind](Path("odd"))
    before = os.lstat("odd")
    assert MAINS[program].main([*words(command, flag), "odd"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert len(message) < 600
    assert "odd" in message
    assert [each.name for each in tmp_path.iterdir()] == ["odd"]
    assert os.path.samestat(before, os.lstat("odd"))


def test_the_flags_are_found() -> None:
    names = {flag for _, _, flag in FLAGS}
    assert {"--resume", "--save", "--config-json", *WRITTEN, *FOLDERS} <= names
