"""Screens and states of Sanctum as pictures: golden logs, a frozen clock, keys, and sizes."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esper_karn.tui.app import Sanctum
from esper_karn.tui.source import Answer, Request, RunSource
from esper_leyline.run_lock import LockProbe, LockState, RunOwner

FOLDER = Path(__file__).parent

sys.path.insert(0, str(FOLDER.parent / "golden"))

from million import read_golden  # noqa: E402

SIZES = ((80, 24), (120, 40), (160, 50))
RESUME = "cd /srv/esper && uv run esper-train ppo --resume /srv/esper/runs/20270101-120000-mnist1d"
"""In place of the command that resumes a run, which has the paths of this machine."""

PATIENCE = 2_000
"""Looks at Sanctum, a hundredth of a second apart, within which it must have drawn a frame."""

_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)

Change = Callable[[list[bytes]], list[bytes]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One picture.

    Attributes:
        log: A golden log; ``None`` for no run.
        keys: To press before the picture is taken.
        lock: What the run's lock says.
        change: Changes the lines of the log.
        later: Seconds between the last event and the picture.
        sizes: Of the terminal.
    """

    log: str | None = "everything"
    keys: Sequence[str] = ()
    lock: LockState = LockState.HELD
    change: Change = list
    later: float = 1.0
    sizes: Sequence[tuple[int, int]] = SIZES


def without_end(lines: list[bytes]) -> list[bytes]:
    """Returns a log without the end of its run."""
    return [line for line in lines if b'"kind":"run_failed"' not in line]


def starting(lines: list[bytes]) -> list[bytes]:
    """Returns the start of a log, before anything was built."""
    return lines[:3]


def minimal(lines: list[bytes]) -> list[bytes]:
    """Returns a log of the level ``minimal``: few kinds of events."""
    kept = (b"run_started", b"run_phase", b"environment_built", b"round_completed", b"ppo_update")
    lines = [line for line in without_end(lines) if any(kind in line for kind in kept)]
    return [line.replace(b'"level":"debug"', b'"level":"minimal"') for line in lines]


def many(lines: list[bytes]) -> list[bytes]:
    """Returns the log of a run with 64 hosts, made of one with 16."""
    made = []
    for line in lines:
        event = json.loads(line)
        if event["payload"]["kind"] in {"run_completed", "round_completed"}:
            continue
        if event.get("environment") is None:
            made.append(event)
        else:
            host = event["environment"]
            made += [event | {"environment": host + shift} for shift in (0, 16, 32, 48)]
    for sequence, event in enumerate(made):
        event["sequence"] = sequence
    return [json.dumps(event).encode() for event in made]


LIVE = Scenario(change=without_end)
SCENARIOS = {
    "run": LIVE,
    "policy": replace(LIVE, keys=("tab",)),
    "decisions": replace(LIVE, keys=("tab", "tab")),
    "log": replace(LIVE, keys=("tab", "tab", "tab")),
    "host": replace(LIVE, keys=("1",)),
    "hosts-16": Scenario(log="sixteen"),
    "hosts-64": Scenario(log="sixteen", change=many, sizes=((120, 40),)),
    "policy-log-scale": replace(LIVE, keys=("tab", "y"), sizes=((120, 40),)),
    "waiting": Scenario(log="default", change=starting, sizes=((80, 24),)),
    "stale": replace(LIVE, lock=LockState.UNKNOWN, later=120.0, sizes=((80, 24),)),
    "paused": replace(LIVE, keys=("space", "left_curly_bracket"), sizes=((80, 24),)),
    "ended": Scenario(log="default", sizes=((80, 24),)),
    "failed": Scenario(sizes=((80, 24),)),
    "crashed": Scenario(log="crashed", lock=LockState.FREE, later=300.0, sizes=((80, 24),)),
    "minimal": Scenario(change=minimal, sizes=((80, 24),)),
    "no-run": Scenario(log=None, sizes=((80, 24),)),
    "small": replace(LIVE, sizes=((60, 20),)),
    "light": replace(LIVE, keys=("t",), sizes=((120, 40),)),
    "high-contrast": replace(LIVE, keys=("t", "t"), sizes=((120, 40),)),
    "help": replace(LIVE, keys=("question_mark",), sizes=((80, 24),)),
    "stop": replace(LIVE, keys=("ctrl+c",), sizes=((80, 24),)),
}
"""Every picture by its name."""


class FrozenSource(RunSource):
    """A run read at one moment; its command to resume has no path of this machine."""

    def answer(self, request: Request) -> Answer:
        """Returns what changed."""
        found = super().answer(request)
        if found.condition is None or found.condition.resume is None:
            return found
        return replace(found, condition=replace(found.condition, resume=RESUME))


def pictures() -> list[tuple[str, tuple[int, int]]]:
    """Returns the name and the size of every picture."""
    return [(name, size) for name, scenario in SCENARIOS.items() for size in scenario.sizes]


def file_of(name: str, size: tuple[int, int]) -> Path:
    """Returns where a picture lies."""
    return FOLDER / f"{name}-{size[0]}x{size[1]}.svg.gz"


def read_picture(name: str, size: tuple[int, int]) -> str:
    """Returns a picture as it was recorded."""
    return gzip.decompress(file_of(name, size).read_bytes()).decode()


def write_run(folder: Path, scenario: Scenario) -> Path:
    """Writes the run of a scenario; returns the folder to open."""
    runs = folder / "runs"
    if scenario.log is None:
        return runs
    run = runs / "20270101-120000-mnist1d"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    lines = scenario.change(read_golden(scenario.log).splitlines())
    (run / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return run


def source_of(folder: Path, scenario: Scenario) -> RunSource:
    """Returns the run of a scenario, with its clock frozen."""
    target = write_run(folder, scenario)
    last = 0.0
    if scenario.log is not None:
        lines = (target / "events.jsonl").read_bytes().splitlines()
        last = json.loads(lines[-1])["wall_time"]
    owner = RunOwner(command="ppo", pid=1, host="machine", machine="m", locked=True)
    probe = LockProbe(state=scenario.lock, owner=owner)
    return FrozenSource(target, clock=lambda: last + scenario.later, probe=lambda _: probe)


async def settle(app: Sanctum, pilot) -> None:
    """Waits until everything that was asked for is read and drawn."""
    wanted = app.answers + 2
    for _ in range(PATIENCE):
        if app.return_value is not None or (app.answers >= wanted and not app.is_reading):
            break
        app.ask()
        await pilot.pause(0.01)
    else:
        raise AssertionError("Sanctum reads nothing")
    await pilot.pause()


async def take(folder: Path, scenario: Scenario, size: tuple[int, int]) -> str:
    """Returns the picture of a scenario as an SVG without fonts of other hosts."""
    source = source_of(folder, scenario)
    app = Sanctum(source, since=None, interrupt=lambda: None)
    try:
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            for key in scenario.keys:
                await pilot.press(key)
                await settle(app, pilot)
            return _FONTS.sub("", app.export_screenshot(title="Sanctum"))
    finally:
        source.close()


def picture(folder: Path, name: str, size: tuple[int, int]) -> str:
    """Returns a picture as it is now."""
    return asyncio.run(take(folder, SCENARIOS[name], size))
