"""Queries over 1,000 runs: ``uv run --no-sync python tests/benchmarks/analytics.py``.

Makes 1,000 run directories with logs of 250 events each, in a temporary folder, and measures in
fresh processes: ``esper-overwatch sql`` with a grouped query, with an empty cache (cold) and with a
full one (cached), and ``esper-overwatch list``. From the last two, the time of a list of one run is
taken. Prints whether each bar of issue 14 is reached, and writes ``analytics.txt`` beside it.
About a minute on two idle cores; each time is the best of three, the cold one is measured once. CPU
time, of all threads, says more where other programs run.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from esper_leyline import RoundSummary, RunStatus, RunSummary, SeedStage, TrainingConfig
from esper_leyline.events import (
    EnvironmentBuilt,
    EpisodeOutcome,
    EpochCompleted,
    Event,
    Phase,
    RoundCompleted,
    RunCompleted,
    RunPhase,
    RunStarted,
    encode_event,
)
from esper_leyline.reports import HostReport, SeedReport

RUNS, EVENTS = 1000, 250
ROUNDS, HOSTS = 6, 4
EPOCHS = 9
UNFINISHED = 20
"""Of the runs, those that have neither a summary nor an end in their log."""

QUERY = "SELECT run, max(val_accuracy), avg(train_loss) FROM epochs GROUP BY run ORDER BY 2 DESC"
REPORT = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took, in seconds: by the clock, and of all its threads."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def __str__(self) -> str:
        return f"{self.wall:.2f} s, CPU {self.cpu:.2f} s"


def main() -> int:
    """Makes the runs, measures, and writes the report; returns 1 if a bar is not reached."""
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        make_runs(runs)
        only = next(runs.iterdir())
        shutil.copytree(only, Path(folder) / "one" / only.name)
        environment = {**os.environ, "XDG_CACHE_HOME": str(Path(folder) / "caches")}
        # As for a user: Python stores the bytecode of libraries when they are imported first.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        query = ["sql", QUERY, "--runs", str(runs), "--format", "csv"]
        start = best(["list", str(Path(folder) / "one")], environment)
        cold = cost_of(query, environment)
        cached = best(query, environment)
        listed = best(["list", str(runs)], environment)
    rows = [
        ("grouped query, cold, whole command", cold, 10.0),
        ("grouped query, cached, beyond start", cached - start, 0.5),
        ("list of 1,000 runs, beyond start", listed - start, 0.5),
    ]
    lines = [
        f"{RUNS} runs of {EVENTS} events, {UNFINISHED} of them without an end",
        f"load before: {load:.1f} on {os.cpu_count()} cores; start (list of one run): {start}",
        *(f"{name}: {cost}; bar {bar} s: {verdict(cost, bar)}" for name, cost, bar in rows),
    ]
    print("\n".join(lines))
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(cost.wall > bar for _, cost, bar in rows))


def verdict(cost: Cost, bar: float) -> str:
    """Says whether a bar is reached by the clock."""
    return "reached" if cost.wall <= bar else "NOT reached"


def best(arguments: list[str], environment: dict[str, str]) -> Cost:
    """Returns the fastest of three runs of a command."""
    return min((cost_of(arguments, environment) for _ in range(3)), key=lambda cost: cost.wall)


def cost_of(arguments: list[str], environment: dict[str, str]) -> Cost:
    """Runs a command of esper-overwatch."""
    program = Path(sys.executable).with_name("esper-overwatch")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


def make_runs(folder: Path) -> None:
    """Writes the run directories."""
    for number in range(RUNS):
        name = f"20260101-{number:06d}-mnist1d-{number:08x}"
        run = folder / name
        run.mkdir(parents=True)
        ended = number % (RUNS // UNFINISHED) != 0
        events = make_events(name, number, ended=ended)
        (run / "events.jsonl").write_bytes(
            b"".join(encode_event(event) + b"\n" for event in events)
        )
        (run / "config.json").write_text(TrainingConfig().model_dump_json(), encoding="utf-8")
        if ended:
            (run / "summary.json").write_text(
                json.dumps(summary_of(name, number).model_dump(mode="json")), encoding="utf-8"
            )


def make_events(name: str, run: int, *, ended: bool) -> list[Event]:
    """Makes the events of a run of the size of a short one."""
    where: list[tuple[object, dict[str, int]]] = [
        (RunStarted(command="ppo", config=TrainingConfig(), versions={}), {}),
        (RunPhase(phase=Phase.TRAINING), {}),
        (EnvironmentBuilt(slots=("r0c0", "r0c1"), host_parameters=782), {}),
    ]
    for number in range(1, ROUNDS + 1):
        for epoch in range(1, EPOCHS + 1):
            for host in range(HOSTS):
                here = {"round": number, "epoch": epoch, "environment": host}
                where.append((EpochCompleted(host=host_report(run, number, epoch)), here))
        for host in range(HOSTS):
            here = {"round": number, "epoch": EPOCHS, "environment": host}
            where.append((outcome(run, number), here))
        where.append((RoundCompleted(summary=round_summary(number)), {"round": number}))
    if ended:
        end = RunCompleted(status=RunStatus.COMPLETED, rounds_completed=ROUNDS, seconds=60.0)
        where.append((end, {}))
    assert len(where) in (EVENTS - 1, EVENTS), len(where)
    return [
        Event(
            run_id=name,
            sequence=sequence,
            monotonic=0.2 * sequence,
            wall_time=1.77e9 + 0.2 * sequence,
            payload=payload,
            **envelope,
        )
        for sequence, (payload, envelope) in enumerate(where)
    ]


def host_report(run: int, number: int, epoch: int) -> HostReport:
    """Makes what a host reports after an epoch."""
    return HostReport(
        train_loss=2.0 / epoch + run / RUNS,
        train_accuracy=30.0 + epoch,
        val_loss=2.1 / epoch,
        val_accuracy=35.0 + epoch + number + run / RUNS,
        seeds=(
            SeedReport(slot="r0c0", stage=SeedStage.TRAINING, blueprint="norm", parameters=33),
            SeedReport(slot="r0c1"),
        ),
        host_parameters=782,
        fossil_parameters=0,
        live_parameters=33,
    )


def outcome(run: int, number: int) -> EpisodeOutcome:
    """Makes how an episode ended."""
    return EpisodeOutcome(
        rng_seed=number,
        episode_return=1.0,
        reward_components={"terminal": 1.0},
        ended="horizon",
        best_val_accuracy=50.0,
        germinated=1,
        fossilized=0,
        pruned=1,
        host=host_report(run, number, EPOCHS),
    )


def round_summary(number: int) -> RoundSummary:
    """Makes the summary of a round."""
    return RoundSummary(
        round=number,
        episodes=HOSTS,
        mean_return=1.0,
        mean_accuracy=45.0 + number,
        best_accuracy=50.0 + number,
        ops={"WAIT": 30, "GERMINATE": 6},
        germinated=4,
        fossilized=0,
        pruned=4,
        grown_parameters=0.0,
        seconds=10.0,
    )


def summary_of(name: str, number: int) -> RunSummary:
    """Makes the summary of a run."""
    return RunSummary(
        run_id=name,
        command="ppo",
        task="mnist1d",
        status=RunStatus.COMPLETED,
        started=1.77e9,
        ended=1.77e9 + 60.0,
        seconds=60.0,
        rounds=tuple(round_summary(each) for each in range(1, ROUNDS + 1)),
        host_parameters=782 + number % 2,
    )


if __name__ == "__main__":
    sys.exit(main())
