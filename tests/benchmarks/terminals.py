"""What a frame of the terminal interfaces costs: a live run of 64 hosts, screen by screen.

Parts ``rich`` and ``sanctum`` of ``interfaces.py``. Before each frame one more epoch of every host
is added to the log, so each frame reads, folds, selects, draws and composes what a running trainer
gives it. Measured is processor time of the whole process. Sanctum draws into Textual's headless
terminal, the dashboard into memory: writing to a real terminal is not in the figures.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from statistics import median

from million import read_golden
from report import Report

from esper_karn import Dashboard, EventReader, SafeConsole
from esper_karn.console.dashboard.screen import live_dashboard
from esper_karn.state.reducer import Folding
from esper_karn.tui.app import Sanctum
from esper_karn.tui.source import RunSource

HOSTS = 64
FRAMES = 40
STARTED = 20
"""Epochs that the log has before the first frame."""

COPIED = 16
"""Hosts of the golden log that is copied."""

SIZES = ((80, 24), (120, 40), (160, 50))
SCREENS = ("run", "policy", "decisions", "log", "host")
RICH_BAR, SANCTUM_BAR = 50.0, 30.0
"""Milliseconds of processor time that a frame may take."""


def measure_rich(report: Report, folder: Path) -> None:
    """Measures the dashboard at three sizes of a terminal."""
    steps = split_by_epoch(HOSTS)
    for width, height in SIZES:
        found = time_dashboard(folder / f"{width}.jsonl", steps, width, height)
        _report(report, f"Rich, {width}×{height}, {HOSTS} hosts", found, RICH_BAR)


def measure_sanctum(report: Report, folder: Path) -> None:
    """Measures every screen of Sanctum on the largest terminal."""
    steps = split_by_epoch(HOSTS)
    for index, screen in enumerate(SCREENS):
        found = asyncio.run(time_screen(folder / f"{screen}.jsonl", steps, index, SIZES[-1]))
        _report(report, f"Sanctum, {screen}, {HOSTS} hosts", found, SANCTUM_BAR)


def split_by_epoch(hosts: int) -> list[bytes]:
    """Returns the log in pieces: its start, then one epoch of all hosts after another."""
    pieces: list[list[bytes]] = [[]]
    epoch = 0
    sequence = 0
    for line in read_golden("sixteen").splitlines():
        event = json.loads(line)
        if event["payload"]["kind"] in {"run_completed", "round_completed", "episode_outcome"}:
            continue
        host = event.get("environment")
        shifts = range(0, hosts, COPIED) if host is not None else [0]
        if (event.get("epoch") or 0) > epoch:
            epoch = event["epoch"]
            pieces.append([])
        for shift in shifts:
            copy = event | {"sequence": sequence}
            if host is not None:
                copy["environment"] = host + shift
            pieces[-1].append(json.dumps(copy).encode() + b"\n")
            sequence += 1
    return [b"".join(piece) for piece in pieces]


def time_dashboard(log: Path, steps: list[bytes], width: int, height: int) -> list[float]:
    """Returns the processor time of each frame of the dashboard, in milliseconds."""
    log.write_bytes(b"".join(steps[:STARTED]))
    console = SafeConsole(Terminal())
    console.width, console.height = width, height
    folding = Folding()
    found = []
    with (
        EventReader(log) as reader,
        live_dashboard(folding.state(), console) as live,
    ):
        folding.take_all(reader.read())
        for step in steps[STARTED : STARTED + FRAMES]:
            append(log, step)
            before = time.process_time()
            folding.take_all(reader.read())
            live.update(Dashboard(folding.state()), refresh=True)
            found.append(1000.0 * (time.process_time() - before))
    return found


async def time_screen(
    log: Path, steps: list[bytes], screen: int, size: tuple[int, int]
) -> list[float]:
    """Returns the processor time of each frame of a screen of Sanctum, in milliseconds."""
    log.write_bytes(b"".join(steps[:STARTED]))
    source = RunSource(log)
    app = Sanctum(source)
    found = []
    async with app.run_test(size=size) as pilot:
        await drawn(app, 3)
        for _ in range(screen):
            await pilot.press("tab")
            await drawn(app, 2)
        for step in steps[STARTED : STARTED + FRAMES]:
            append(log, step)
            before = time.process_time()
            await drawn(app, 1)
            found.append(1000.0 * (time.process_time() - before))
    source.close()
    return found


async def drawn(app: Sanctum, frames: int) -> None:
    """Waits until further frames are drawn."""
    until = app.answers + frames
    app.ask()
    while app.answers < until or app.is_reading:
        await asyncio.sleep(0.001)


def append(log: Path, lines: bytes) -> None:
    """Adds lines to a log."""
    with log.open("ab") as file:
        file.write(lines)


class Terminal(io.StringIO):
    """Takes what is drawn as a terminal does."""

    def isatty(self) -> bool:
        """Says that it is one."""
        return True


def _report(report: Report, name: str, found: list[float], bar: float) -> None:
    report.bar(name, median(found), bar, unit="ms CPU")
    report.say(f"  95th percentile {sorted(found)[int(0.95 * (len(found) - 1))]:.1f} ms")
