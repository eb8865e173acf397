"""Runs in every state that the page shows, made of the golden logs."""

from __future__ import annotations

import fcntl
import gzip
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esper_leyline import RoundSummary, RunSummary
from esper_leyline.events import kinds_at
from esper_leyline.run_lock import RunOwner, this_machine

GOLDEN = Path(__file__).parents[3] / "tests/golden"
LONG_NAME = "20260101-120000-" + "a-task-with-a-very-long-name-" * 4 + "0123abcd"


def golden(name: str) -> bytes:
    """Returns the content of a golden log."""
    return gzip.decompress((GOLDEN / f"{name}.jsonl.gz").read_bytes())


def write_run(folder: Path, name: str, log: bytes) -> Path:
    """Writes a run directory with a log."""
    run = folder / name
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}", encoding="utf-8")
    (run / "events.jsonl").write_bytes(log)
    return run


@contextmanager
def every_state(folder: Path) -> Iterator[None]:
    """Writes a run for each state; those that are alive hold their locks until the end."""
    for name in ("default", "sixteen", "everything"):
        write_run(folder, name, golden(name))
    default = golden("default").splitlines(keepends=True)
    write_owner(write_run(folder, "crashed", golden("crashed")))
    write_run(folder, "old", re.sub(rb'"schema_version":\d+', b'"schema_version":1', default[0]))
    write_run(folder, "stale", b"".join(default[:600]))
    write_run(folder, "minimal", at_level(default, "minimal"))
    write_run(folder, "many", more_hosts(golden("sixteen"), 4))
    write_run(folder, LONG_NAME, golden("default"))
    started = next(n for n, line in enumerate(default) if b"environment_built" in line)
    alive = [
        write_run(folder, "waiting", b"".join(default[:started])),
        write_run(folder, "growing", b"".join(default[:400])),
    ]
    (folder / "growing" / "rest").write_bytes(b"".join(default[400:500]))
    files = [write_owner(run).open("rb") for run in alive]
    try:
        for file in files:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        for file in files:
            file.close()


def write_owner(run: Path) -> Path:
    """Writes the lock file of a run: while no process holds it, the run's process is gone."""
    owner = RunOwner(
        command="ppo", pid=1, host=socket.gethostname(), machine=this_machine(), locked=True
    )
    lock = run / "run.lock"
    lock.write_text(owner.model_dump_json(), encoding="utf-8")
    return lock


def at_level(lines: list[bytes], level: str) -> bytes:
    """Returns the lines that a run writes at a telemetry level."""
    kept = []
    for written in lines:
        line, event = written, json.loads(written)
        if event["payload"]["kind"] == "run_started":
            event["payload"]["config"]["telemetry"]["level"] = level
            line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        if event["payload"]["kind"] in kinds_at(level):
            kept.append(re.sub(rb'"sequence":\d+', b'"sequence":%d' % len(kept), line, count=1))
    return b"".join(kept)


def more_hosts(log: bytes, times: int) -> bytes:
    """Returns a log of 16 hosts with several times as many."""
    made = []
    for line in log.splitlines(keepends=True):
        found = re.match(rb'.{0,200}?"environment":(\d+)', line)
        for copy in range(times if found else 1):
            moved = line
            if found:
                host = int(found[1]) + 16 * copy
                moved = re.sub(rb'"environment":\d+', b'"environment":%d' % host, line)
            made.append(re.sub(rb'"sequence":\d+', b'"sequence":%d' % len(made), moved, count=1))
    return b"".join(made)


def write_many(folder: Path, runs: int) -> None:
    """Writes run directories with summaries, as a long study leaves them."""
    for number in range(runs):
        name = f"20260101-{number:06d}-mnist1d-{number:08x}"
        run = write_run(folder, name, b"")
        rounds = tuple(_round(each, number) for each in range(1, 25))
        summary = RunSummary(
            run_id=name,
            command="ppo",
            task="mnist1d",
            status="interrupted" if number % 7 == 0 else "completed",
            started=1.7e9 + 1000 * number,
            seconds=600.0,
            rounds=rounds,
            host_parameters=782,
        )
        (run / "summary.json").write_text(summary.model_dump_json(), encoding="utf-8")


def _round(number: int, run: int) -> RoundSummary:
    accuracy = 40.0 + 1.2 * number + run % 11
    return RoundSummary(
        round=number,
        episodes=4,
        mean_return=number - 12.0,
        mean_accuracy=accuracy,
        best_accuracy=accuracy + 3,
        ops={"WAIT": 5},
        germinated=2,
        fossilized=1,
        pruned=0,
        grown_parameters=33.0,
        seconds=25.0,
    )
