"""The full-screen dashboard: it fits its terminal, and leaves out whole parts that it names."""

from __future__ import annotations

import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from esper_karn import Dashboard, RunState, SafeConsole, fold, has_room
from esper_karn.terminal.glyphs import LEVELS, bar, sparkline


def drawn(state: RunState, width: int, height: int) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )
    console.print(Dashboard(state), height=height, end="")
    return console.file.getvalue().rstrip("\n").split("\n")


def numbers_in(lines: list[str]) -> set[str]:
    return set(re.findall(r"[-+]?\d[\d.,:e%]*", " ".join(lines)))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50), (300, 90)])
def test_the_dashboard_fills_its_terminal_exactly(run_of, size):
    lines = drawn(fold(run_of(4)), *size)
    assert len(lines) == size[1]
    assert max(map(cell_len, lines)) <= size[0]


def test_all_panels_are_there_on_a_large_terminal(run_of):
    text = "\n".join(drawn(fold(run_of(4)), 160, 50))
    for name in ("hosts", "policy", "reward", "ops", "health"):
        assert f"╭─ {name} " in text
    assert "no room" not in text


def test_panels_that_do_not_fit_are_named(run_of):
    text = "\n".join(drawn(fold(run_of(4)), 80, 24))
    missing = [name for name in ("reward", "ops", "health") if f"╭─ {name} " not in text]
    assert missing
    (note,) = re.findall(r"no room at 80×24: (.*)", text)
    assert note.strip().split(", ") == missing


@settings(max_examples=20, deadline=None)
@given(width=st.integers(80, 220), height=st.integers(24, 80))
def test_no_number_is_cut_at_any_size(run_of, width, height):
    state = fold(run_of(4))
    whole = numbers_in(drawn(state, 400, 120))
    shown = numbers_in(drawn(state, width, height)[:-1])  # the last line names the size
    counts = {number for number in shown if number.startswith("+") and "." not in number}
    assert shown - whole - counts == set()


def test_the_view_says_that_the_run_starts_before_the_first_event():
    lines = drawn(RunState(), 100, 30)
    assert "starting" in lines[0]
    assert any("no host has started yet" in line for line in lines)


def test_an_ended_run_says_how_it_ended(run_of):
    assert "completed" in drawn(fold(run_of(2)), 100, 30)[0]


def test_rows_that_do_not_fit_are_counted(run_of):
    from dataclasses import replace

    state = fold(run_of(2))
    many = tuple(replace(state.environments[0], index=index) for index in range(64))
    text = "\n".join(drawn(replace(state, environments=many), 160, 50))
    (more,) = re.findall(r"\+(\d+) hosts", text)
    shown = len(re.findall(r"^│ +\d+ ", text, re.MULTILINE))
    assert shown + int(more) == 64


def test_control_characters_of_a_log_do_not_reach_the_terminal(run_of):
    from dataclasses import replace

    state = fold(run_of(2))
    report = replace(state.report, task="a\x1b[2Jb")
    console = SafeConsole(file=io.StringIO())
    console.print(Dashboard(replace(state, report=report)), height=30)
    assert "\x1b[2J" not in console.file.getvalue()


@pytest.mark.parametrize(("size", "room"), [((80, 24), True), ((79, 24), False), ((80, 23), False)])
def test_a_small_terminal_has_no_room_for_the_dashboard(size, room):
    console = Console(width=size[0], height=size[1])
    assert has_room(console) is room


@given(st.lists(st.none() | st.floats(), max_size=40), st.integers(1, 30))
def test_a_sparkline_has_one_mark_for_each_of_the_latest_values(values, width):
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    for value, mark in zip(values[-width:], line, strict=True):
        assert (mark in LEVELS) == (value is not None and math.isfinite(value))


@given(st.floats(), st.integers(1, 40))
def test_a_bar_is_never_longer_than_its_room(share, width):
    assert len(bar(share, width)) <= width
    assert bar(1.0, width) == "█" * width
