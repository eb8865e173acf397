"""The widget of Sanctum that shows lines: what is in sight stays, whatever comes."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App

from esper_karn.tui.block import Block, span
from esper_karn.tui.palette import DARK
from esper_karn.tui.panel import Panel

MANY = 10_000


class Showing(App[None]):
    def __init__(self, *, tail):
        super().__init__()
        self.panel = Panel("lines", id="lines", tail=tail)
        self.drawn = []

    def compose(self):
        yield self.panel


def block(first, last):
    return Block(
        lines=[[span(f"line {number}")] for number in range(first, last)],
        keys=list(range(first, last)),
    )


def play(steps, *, tail=False):
    app = Showing(tail=tail)

    async def run():
        async with app.run_test(size=(40, 12)) as pilot:
            found = []
            for step in steps:
                if isinstance(step, Block):
                    app.panel.show(lambda palette, width, step=step: step, DARK)
                else:
                    await pilot.press(step)
                await pilot.pause()
                found.append((round(app.panel.scroll_y), app.panel.chosen))
            return found, app.panel.render_line(0).text.strip()

    return asyncio.run(run())


def test_the_first_line_is_chosen_and_j_moves():
    found, _ = play([block(0, 5), "j", "j", "k"])
    assert [chosen for _, chosen in found] == [0, 1, 2, 1]


def test_a_line_out_of_sight_is_scrolled_to():
    found, top = play([block(0, MANY), "end", "k"])
    assert found[-1][1] == MANY - 2
    found, top = play([block(0, MANY), *["j"] * 15])
    assert found[-1] == (4, 15)
    assert top == "line 4"


def test_new_lines_do_not_move_what_is_in_sight():
    found, _ = play([block(100, 200), *["pagedown"] * 3, block(50, 250)])
    assert found[-1][1] == found[-2][1]
    assert found[-1][0] == found[-2][0] + 50


def test_a_log_at_its_end_follows():
    found, _ = play([block(0, 50), block(0, 60)], tail=True)
    assert found[0] == (38, 49)
    assert found[1] == (48, 59)


def test_a_log_that_was_scrolled_back_stays():
    found, _ = play([block(0, 50), "home", block(0, 60)], tail=True)
    assert found[-1] == (0, 0)


def test_a_chosen_line_that_is_gone_gives_way_to_another():
    found, _ = play([block(0, 5), block(3, 8)])
    assert found[-1][1] == 3


@pytest.mark.parametrize("size", [0, 1, MANY])
def test_only_the_lines_in_sight_are_drawn(size, monkeypatch):
    drawn = []
    original = Panel.render_line

    def counted(self, y):
        drawn.append(y)
        return original(self, y)

    monkeypatch.setattr(Panel, "render_line", counted)
    play([block(0, size)])
    assert max(drawn) < 12


def test_lines_that_did_not_change_are_not_drawn_again():
    app, drawn = Showing(tail=False), []

    async def run():
        async with app.run_test(size=(40, 12)) as pilot:
            app.panel.show(lambda palette, width: block(0, 5), DARK)
            await pilot.pause()
            app.panel.refresh = lambda *_, **__: drawn.append(1)
            app.panel.show(lambda palette, width: block(0, 5), DARK)
            same = len(drawn)
            app.panel.show(lambda palette, width: block(0, 6), DARK)
            return same, len(drawn)

    same, other = asyncio.run(run())
    assert same == 0
    assert other > 0


def test_older_lines_above_do_not_move_what_is_in_sight_of_lines_that_grow_at_their_end():
    found, top = play([block(50, 100), "home", block(0, 100)], tail=True)
    assert found[1] == (0, 50)
    assert found[2] == (50, 50)
    assert top == "line 50"
