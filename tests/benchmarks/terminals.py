"""Measures the processor time of a frame of Sanctum: a live run of 64 hosts, screen by screen.

``uv run --no-sync python tests/benchmarks/sanctum.py [--hosts 64] [--frames 40]``

Before each frame one more epoch of every host is added to the log, so each frame reads, folds,
selects, draws and composes what a running trainer gives it. The terminal is Textual's headless one;
writing to a real one is not in the figures. The last line says whether the bar is met.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))

from million import read_golden

from esper_karn.tui.app import Sanctum
from esper_karn.tui.source import RunSource

BAR_MS = 30.0
"""Milliseconds of processor time that a frame may take."""

COPIED = 16
"""Hosts of the golden log that is copied."""


def main() -> int:
    """Prints the median and the 95th percentile of each screen, in milliseconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", default="160x50")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    steps = split_by_epoch(options.hosts)
    worst = 0.0
    for index, screen in enumerate(("run", "policy", "decisions", "log", "host")):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "events.jsonl"
            found = asyncio.run(measure(log, steps, index, options.frames, (width, height)))
        found.sort()
        p95 = found[int(0.95 * (len(found) - 1))]
        worst = max(worst, median(found))
        print(f"{screen:10} median {median(found):6.1f} ms  p95 {p95:6.1f} ms", flush=True)
    print(f"bar {BAR_MS:g} ms CPU a frame, {options.hosts} hosts: {worst:.1f} ms")
    return 0 if worst <= BAR_MS else 1


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


async def measure(
    log: Path, steps: list[bytes], screen: int, frames: int, size: tuple[int, int]
) -> list[float]:
    """Returns the processor time of each frame, in milliseconds."""
    log.write_bytes(b"".join(steps[:20]))
    source = RunSource(log)
    app = Sanctum(source)
    found = []
    async with app.run_test(size=size) as pilot:
        await drawn(app, pilot, 3)
        for _ in range(screen):
            await pilot.press("tab")
            await drawn(app, pilot, 2)
        for step in steps[20 : 20 + frames]:
            with log.open("ab") as file:
                file.write(step)
            before = time.process_time()
            await drawn(app, pilot, 1)
            found.append(1000.0 * (time.process_time() - before))
    source.close()
    return found


async def drawn(app: Sanctum, pilot: object, frames: int) -> None:
    """Waits until further frames are drawn."""
    del pilot
    until = app.answers + frames
    app.ask()
    while app.answers < until or app.is_reading:
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    raise SystemExit(main())
