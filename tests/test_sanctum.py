"""The keys of Sanctum on golden logs, with the clock frozen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "sanctum"))

from scenarios import LIVE, SCENARIOS, read_golden, settle, source_of
from textual.widgets import ContentSwitcher, Input

from esper_karn.state.notices import NOTICE_KINDS
from esper_karn.tui.app import Sanctum
from esper_karn.tui.bar import Bar
from esper_karn.tui.dialogs import Help, StopQuestion
from esper_karn.tui.leaving import Leaving
from esper_karn.tui.panel import Panel

pytestmark = pytest.mark.slow


def play(folder, *keys, scenario=LIVE, size=(120, 40), then=None, **options):
    """Presses keys on a run; returns what ``then`` finds, and the app that was left."""
    source = source_of(folder, scenario)
    app = Sanctum(source, **options)

    async def run():
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            for key in keys:
                await pilot.press(key)
                await settle(app, pilot)
            return then(app) if then else None

    try:
        return asyncio.run(run()), app
    finally:
        source.close()


def text(app, name):
    lines = app.run_screen.query_one(f"#{name}")
    found = lines.lines if isinstance(lines, Bar) else lines.block.lines
    return "\n".join("".join(segment.text for segment in line) for line in found)


def pane(app):
    return app.run_screen.query_one(ContentSwitcher).current


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ((), "run"),
        (("tab",), "policy"),
        (("tab", "tab"), "decisions"),
        (("tab", "tab", "tab"), "log"),
        (("shift+tab",), "host"),
        (("tab",) * 5, "run"),
        (("2",), "host"),
        (("2", "escape"), "run"),
        (("slash",), "log"),
        (("slash", "escape", "escape"), "run"),
        (("j", "enter"), "host"),
    ],
)
def test_keys_go_through_the_screens(tmp_path, keys, shown):
    assert play(tmp_path, *keys, then=pane)[0] == shown


def test_a_number_opens_that_host(tmp_path):
    assert "host 2" in str(play(tmp_path, "2", then=_slots_title)[0])


def test_g_and_a_number_open_any_host(tmp_path):
    assert "host 0" in str(play(tmp_path, "g", "0", "enter", then=_slots_title)[0])


def test_a_host_that_does_not_exist_is_named(tmp_path):
    found, _ = play(tmp_path, "9", then=lambda app: text(app, "slots"))
    assert found == "there is no host 9; hosts: 0 to 2"


def _slots_title(app):
    return app.run_screen.query_one("#slots", Panel).border_title


def test_a_host_shows_its_decisions_and_its_profile(tmp_path):
    def look(app):
        return text(app, "host-decisions"), text(app, "profile")

    (decisions, profile), _ = play(tmp_path, "1", then=look)
    assert "host 1" in decisions
    assert "host 0" not in decisions
    assert "blocks.0.conv" in profile
    assert "sharpness" in profile


def test_a_host_without_a_profile_names_the_flag_that_measures_it(tmp_path):
    profile, _ = play(
        tmp_path, "1", scenario=SCENARIOS["ended"], then=lambda app: text(app, "profile")
    )
    assert profile == "needs --telemetry-profile standard"


@pytest.mark.parametrize("count", range(6))
def test_every_panel_of_a_host_comes_into_sight_on_a_small_terminal(tmp_path, count):
    def seen(app):
        focused = app.run_screen.focused
        window = app.run_screen.query_one(ContentSwitcher).region
        return window.contains_region(focused.region)

    assert play(tmp_path, "1", *["l"] * count, size=(80, 24), then=seen)[0]


def test_the_focused_panel_moves_with_j_and_k(tmp_path):
    def chosen(app):
        return app.run_screen.focused.chosen

    assert play(tmp_path, then=chosen)[0] == 0
    assert play(tmp_path / "b", "j", "j", "k", then=chosen)[0] == 1
    assert play(tmp_path / "c", "end", then=chosen)[0] == 2


def test_panels_are_reached_by_h_and_l(tmp_path):
    def focused(app):
        return app.run_screen.focused.id

    assert play(tmp_path, then=focused)[0] == "hosts"
    assert play(tmp_path / "b", "l", then=focused)[0] == "leaderboard"
    assert play(tmp_path / "c", "l", "h", then=focused)[0] == "hosts"


def test_the_filter_shows_only_lines_with_its_text(tmp_path):
    keys = ("slash", *"germin", "enter")
    found, _ = play(tmp_path, *keys, then=lambda app: text(app, "lines"))
    above, *lines = found.splitlines()
    assert above == "the first line of the log"
    assert lines
    assert all("germin" in line for line in lines)


def test_the_log_scrolls_through_every_line(tmp_path):
    """A state keeps the latest hundred lines of each group; the file has all of them."""

    def look(app):
        panel = app.run_screen.query_one("#lines", Panel)
        return text(app, "lines").splitlines(), panel.chosen

    tabs = ["tab"] * 3
    (latest, _), _ = play(tmp_path, *tabs, scenario=SCENARIOS["ended"], then=look)
    assert "older lines" in latest[0]
    keys = (*tabs, "home", "home", "home")
    (every, chosen), _ = play(tmp_path / "b", *keys, scenario=SCENARIOS["ended"], then=look)
    assert every[0] == "the first line of the log"
    assert every[-1] == latest[-1]
    assert len(every) > len(latest)
    log = read_golden("default").splitlines()
    noticed = [json.loads(line)["sequence"] for line in log if _kind(line) in NOTICE_KINDS]
    assert chosen == noticed[0]
    assert len(every) >= 1 + len(noticed)


def _kind(line):
    return json.loads(line)["payload"]["kind"]


def test_older_lines_do_not_move_what_is_in_sight(tmp_path):
    def top(app):
        panel = app.run_screen.query_one("#lines", Panel)
        return panel.render_line(panel.block.head).text, panel.render_line(4).text

    scenario = SCENARIOS["ended"]
    source = source_of(tmp_path, scenario)
    app = Sanctum(source)

    async def run():
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(app, pilot)
            for _ in range(3):
                await pilot.press("tab")
                await settle(app, pilot)
            await pilot.press("home")
            before = top(app)[1]
            await settle(app, pilot)
            await settle(app, pilot)
            return before, top(app)[1], len(text(app, "lines").splitlines())

    before, after, lines = asyncio.run(run())
    source.close()
    assert before == after
    assert lines > 110


def test_a_filter_looks_at_every_line(tmp_path):
    keys = (*["tab"] * 3, "slash", *"checkpoint", "enter")
    found, _ = play(
        tmp_path, *keys, scenario=SCENARIOS["ended"], then=lambda app: text(app, "lines")
    )
    log = read_golden("default").splitlines()
    written = sum(_kind(line) in {"checkpoint_saved", "checkpoint_loaded"} for line in log)
    assert found.count("checkpoint") >= written > 0


def test_letters_of_a_filter_are_no_keys(tmp_path):
    _, app = play(tmp_path, "slash", *"qgt", then=None)
    assert app.return_value is None


def test_a_pause_holds_events_back_and_counts_them(tmp_path):
    def look(app):
        return text(app, "banner")

    assert "0 events held back" in play(tmp_path, "space", then=look)[0]
    assert "1 event held back" in play(tmp_path / "b", "left_square_bracket", then=look)[0]
    keys = ("left_curly_bracket", "right_square_bracket")
    assert "99 events held back" in play(tmp_path / "c", *keys, then=look)[0]
    assert play(tmp_path / "d", "space", "space", then=look)[0] == ""


def test_events_that_come_during_a_pause_are_counted(tmp_path):
    source = source_of(tmp_path, LIVE)
    log = next(tmp_path.rglob("events.jsonl"))
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-7]))
    app = Sanctum(source)

    async def run():
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(app, pilot)
            await pilot.press("space")
            await settle(app, pilot)
            with log.open("ab") as file:
                file.writelines(lines[-7:])
            await settle(app, pilot)
            return text(app, "banner")

    assert "7 events held back" in asyncio.run(run())
    source.close()


def test_enter_on_a_line_of_the_log_goes_to_its_moment(tmp_path):
    found, _ = play(tmp_path, *["tab"] * 3, "home", "enter", then=lambda app: text(app, "banner"))
    assert "paused at event" in found


def test_the_scale_of_histories_changes(tmp_path):
    linear, _ = play(tmp_path, "tab", then=lambda app: text(app, "update"))
    log, _ = play(tmp_path / "b", "tab", "y", then=lambda app: text(app, "update"))
    assert linear != log


def test_t_goes_through_the_themes(tmp_path):
    names = [
        play(tmp_path / str(count), *["t"] * count, then=lambda app: app.theme)[0]
        for count in range(4)
    ]
    assert names == ["dark", "light", "high contrast", "dark"]


def test_q_leaves_and_says_that_the_run_goes_on(tmp_path):
    assert play(tmp_path, "q")[1].return_value is Leaving.QUIT


def test_the_end_of_its_run_ends_sanctum(tmp_path):
    scenario = replace(LIVE, log="default", change=list)
    assert play(tmp_path, scenario=scenario, since=0)[1].return_value is Leaving.ENDED


def test_an_earlier_end_does_not_end_sanctum(tmp_path):
    scenario = replace(LIVE, log="default", change=list)
    assert play(tmp_path, "j", scenario=scenario, since=10**6)[1].return_value is None


def test_a_process_without_its_parent_leaves(tmp_path):
    assert play(tmp_path, alone=lambda: True)[1].return_value is Leaving.QUIT


def test_ctrl_c_asks_once_and_stops_the_run(tmp_path):
    stopped = []

    def options():
        return {"interrupt": lambda: stopped.append(1)}

    asking, _ = play(tmp_path, "ctrl+c", then=_is_asking, **options())
    assert (asking, stopped) == (True, [])
    play(tmp_path / "b", "ctrl+c", "n", **options())
    assert stopped == []
    play(tmp_path / "c", "ctrl+c", "y", "ctrl+c", **options())
    assert stopped == [1, 1]


def _is_asking(app):
    return isinstance(app.screen, StopQuestion)


def test_ctrl_c_leaves_a_run_that_is_not_ours(tmp_path):
    assert play(tmp_path, "ctrl+c")[1].return_value is Leaving.QUIT


def test_help_is_a_dialog(tmp_path):
    assert play(tmp_path, "question_mark", then=lambda app: type(app.screen))[0] is Help


def test_the_palette_opens_a_screen(tmp_path):
    keys = ("colon", *"screen: log", "enter")
    assert play(tmp_path, *keys, then=pane)[0] == "log"


def test_a_run_of_a_folder_is_found_when_it_starts(tmp_path):
    source = source_of(tmp_path, SCENARIOS["no-run"])
    app = Sanctum(source)

    async def run():
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(app, pilot)
            before = text(app, "banner")
            source_of(tmp_path, LIVE)
            await settle(app, pilot)
            return before, text(app, "title")

    before, after = asyncio.run(run())
    source.close()
    assert "no run yet" in before
    assert "mnist1d_blind" in after


def test_the_input_of_the_filter_is_hidden_until_it_is_asked_for(tmp_path):
    def is_open(app):
        return app.run_screen.query_one("#filter", Input).display

    assert not play(tmp_path, then=is_open)[0]
    assert play(tmp_path / "b", "slash", then=is_open)[0]


def test_sanctum_starts_without_torch():
    code = "import sys, esper_karn.tui.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
