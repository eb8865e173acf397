"""What Sanctum draws: numbers are whole at any width, and text of a log stays text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from esper_karn import fold, frame, host_view, log_lines
from esper_karn.terminal.layout import Column, TableVariant
from esper_karn.tui.block import Block, message, paragraph, stack, table
from esper_karn.tui.drawings.banner import banner
from esper_karn.tui.drawings.decisions import decisions_block
from esper_karn.tui.drawings.history import Histories
from esper_karn.tui.drawings.host import (
    counterfactuals_block,
    lifelines_block,
    profile_block,
    reward_block,
    slots_block,
)
from esper_karn.tui.drawings.hosts import hosts_block, leaderboard_block
from esper_karn.tui.drawings.log import log_block
from esper_karn.tui.drawings.policy import (
    heads_block,
    health_block,
    ops_block,
    rewards_block,
    update_block,
    value_block,
)
from esper_karn.tui.drawings.title import health_line, machine_line, title_line
from esper_karn.tui.palette import DARK, HIGH_CONTRAST, LIGHT, NO_COLOUR
from esper_karn.tui.shown import Shown
from esper_karn.tui.source import Answer, LogPage
from esper_karn.views.condition import Condition

HOSTILE = "a\x1b[2J\x9b31m\r\u202e[bold red]b[/]"


@pytest.fixture(scope="module")
def state(run_of):
    return fold(run_of(4))


def shown_of(state, *views):
    shown = Shown()
    condition = Condition(condition="live", text="running")
    frames = {view: frame(state, view, extra={"condition": condition}) for view in views}
    page = LogPage(log=log_lines(state))
    shown.take(Answer(frames=frames, condition=condition, log=page, latest=1))
    return shown


def blocks(state, palette, width):
    """Everything that is drawn of a run, by name."""
    shown = shown_of(state, "run", "policy", "decisions")
    histories = Histories(shown)
    host = host_view(state.environments[0], state)
    return {
        "hosts": hosts_block(shown.hosts, palette, width),
        "leaderboard": leaderboard_block(shown.leaderboard, palette, width),
        "update": update_block(shown.policy, histories, palette, width),
        "heads": heads_block(shown.policy, histories, palette, width),
        "value": value_block(shown.policy, histories, palette, width),
        "ops": ops_block(shown.policy, histories, palette, width),
        "checks": health_block(shown.health, palette, width),
        "rewards": rewards_block(shown.rewards, palette, width),
        "decisions": decisions_block(shown.decisions, palette, width),
        "log": log_block(shown.log, palette, width),
        "slots": slots_block(host, palette, width),
        "lifelines": lifelines_block(host, palette, width),
        "counterfactuals": counterfactuals_block(host, palette, width),
        "reward": reward_block(host, palette, width),
        "profile": profile_block(host, palette, width),
        "banner": banner(shown, palette, width),
        "title": Block(lines=[title_line(shown, palette, width)[0]]),
        "machine": Block(lines=[machine_line(shown, palette, width)[0]]),
        "health": Block(lines=[health_line(shown, palette, width)]),
    }


def texts(block):
    return ["".join(segment.text for segment in line) for line in block.lines]


def numbers_in(block):
    # What has no room in a line is counted.
    text = re.sub(r"\+\d+ more", "", " ".join(texts(block)))
    return set(re.findall(r"[-+]?\d[\d.,:e%]*", text))


@settings(max_examples=25, deadline=None)
@given(width=st.integers(44, 200))
def test_a_number_is_whole_or_left_out_at_any_width(state, width):
    whole = blocks(state, DARK, 1000)
    for name, block in blocks(state, DARK, width).items():
        assert numbers_in(block) <= numbers_in(whole[name]), name


@settings(max_examples=25, deadline=None)
@given(width=st.integers(44, 200))
def test_no_line_is_wider_than_its_panel(state, width):
    for name, block in blocks(state, DARK, width).items():
        if name not in {"title", "machine", "health"}:
            assert max(map(cell_len, texts(block)), default=0) <= width, name


@pytest.mark.parametrize("palette", [DARK, LIGHT, HIGH_CONTRAST, NO_COLOUR], ids=lambda p: p.name)
def test_colours_change_no_text(state, palette):
    drawn = {name: texts(block) for name, block in blocks(state, palette, 100).items()}
    assert drawn == {name: texts(block) for name, block in blocks(state, DARK, 100).items()}


@pytest.mark.security
def test_text_of_a_log_stays_text(state):
    report = replace(state.report, task=HOSTILE, error=HOSTILE)
    slots = tuple(replace(slot, slot=HOSTILE) for slot in state.environments[0].episode.slots)
    episode = replace(state.environments[0].episode, slots=slots)
    environments = (replace(state.environments[0], episode=episode),)
    anomalies = tuple(replace(each, text=HOSTILE) for each in state.notices.anomalies)
    notices = replace(state.notices, anomalies=anomalies)
    hostile = replace(state, report=report, environments=environments, notices=notices)
    found = [line for block in blocks(hostile, DARK, 160).values() for line in texts(block)]
    assert all(line.isprintable() for line in found)
    assert any("[bold red]" in line for line in found)


def test_a_slot_that_is_not_listed_twice_has_its_key():
    block = table(
        TableVariant(columns=[Column(head="a", cells=["1", "2"])]), width=40, keys=["x", "y"]
    )
    assert [block.key(index) for index in range(3)] == [None, "x", "y"]
    assert block.head == 1


@given(st.text(max_size=300), st.integers(20, 80), st.sampled_from(["", "  "]))
def test_a_paragraph_keeps_every_character_but_white_space(text, width, indent):
    from esper_leyline import printable

    lines = texts(Block(lines=paragraph(text, width, indent=indent)))
    assert "".join("".join(lines).split()) == "".join(printable(text).split())
    assert max(map(cell_len, lines)) <= width


def test_blocks_below_each_other_keep_their_keys():
    block = stack([message("a", 10), Block(lines=[[], []], keys=["x", "y"])])
    assert [block.key(index) for index in range(4)] == [None, "x", "y", None]


def test_before_the_first_answer_there_is_no_run():
    assert "no run yet" in texts(banner(Shown(), DARK, 80))[0]


@pytest.mark.parametrize(
    ("name", "shows"), [("live", True), ("waiting", True), ("stale", False), ("crashed", False)]
)
def test_only_a_run_that_goes_on_has_an_eta(run_of, name, shows):
    state = fold(run_of(4)[:-6])
    shown = Shown()
    condition = Condition(condition=name, text=name)
    frames = {"run": frame(state, "run", extra={"condition": condition})}
    shown.take(Answer(frames=frames, condition=condition))
    line = "".join(segment.text for segment in title_line(shown, DARK, 200)[0])
    assert shown.header.eta is not None
    assert ("ETA" in line) is shows


def test_a_column_without_text_is_left_out():
    columns = [
        Column(head="host", cells=["1", "2"]),
        Column(head="gate", cells=["", ""], rank=1),
        Column(head="ended", cells=["", "horizon"], rank=2),
    ]
    drawn = table(TableVariant(columns=columns), width=40)
    assert [segment.text.split() for segment in drawn.lines[0]] == [["host"], ["ended"]]
