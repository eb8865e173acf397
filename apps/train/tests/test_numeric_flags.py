"""Every numeric flag of every command has two bounds and takes plain numbers only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from .arguments import MAINS, arguments

NO_NUMBERS = ("", "many", "nan", "inf", "-inf", "0x10", "1_0", "1e400", "9" * 400, "٣", "1,5", " 2")
NO_WHOLE_NUMBERS = ("1.5", "2.0", "1e1")
BEYOND = ("-99999999999999999", "99999999999999999")


COMPONENTS = re.compile(r"--(ppo|policy|reward|lifecycle|governor|counterfactuals|host)-")
SAMPLES = frozenset(
    {"--ppo-epochs", "--ppo-clip", "--governor-snapshot-every", "--reward-rent-cap"}
)
"""Flags of components that stand for all of these, which are read by the same code."""


def numeric_flags() -> Iterator[tuple[str, str, str, type]]:
    """Finds program, command, flag and type of every flag that takes a number."""
    for program, command, name, hint in arguments():
        if command == "config":
            continue  # it has the flags of ``ppo``
        for kind in (int, float):
            if kind in {hint, *get_args(hint)} and (not COMPONENTS.match(name) or name in SAMPLES):
                yield program, command, name, kind


FLAGS = list(numeric_flags())
THOROUGH = {flag[1::2]: flag for flag in reversed(FLAGS)}.values()
"""One flag of each kind of each command, which gets every text that is no number."""


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    program, *arguments = words
    assert MAINS[program].main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 600
    return captured.err


def test_the_flags_are_found() -> None:
    names = {flag for _, command, flag, _ in FLAGS if command == "evaluate"}
    assert {"--seeds", "--first-seed", "--envs", "--workers"} <= names
    assert len(FLAGS) > 25
    assert {flag for _, _, flag, _ in FLAGS} >= SAMPLES


@pytest.fixture
def nothing_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs a test in an empty folder, and checks that it stays empty."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_created")
@pytest.mark.parametrize("numeric", FLAGS, ids=lambda flag: " ".join(flag[1:3]))
def test_a_bad_number_is_one_line(
    numeric: tuple[str, str, str, type], capsys: pytest.CaptureFixture[str]
) -> None:
    program, command, flag, kind = numeric
    wrong = (*NO_NUMBERS, *BEYOND, *(NO_WHOLE_NUMBERS if kind is int else ()))
    wrong = wrong if numeric in THOROUGH else ("many", "nan", *BEYOND)
    besides = ("--dual-ab", "shaped-vs-sparse") if flag == "--ab-seeds" else ()
    for value in wrong:
        assert flag in complaint(capsys, program, command, *besides, f"{flag}={value}"), value
    assert flag in complaint(capsys, program, command, *besides, flag)


@pytest.mark.usefixtures("nothing_created")
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("ppo", "--slots"),
        ("ppo", "--devices"),
        ("ppo", "--set"),
        ("heuristic", "--slots"),
        ("heuristic", "--set"),
        ("evaluate", "--arms"),
        ("evaluate", "--devices"),
    ],
)
def test_an_empty_list_is_refused(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flag in complaint(capsys, "esper-train", command, flag)
    assert flag in complaint(capsys, "esper-train", command, flag, "--device", "cpu")
