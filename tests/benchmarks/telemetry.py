"""What telemetry costs: in training, in the thread that trains, on disk, and for readers.

    uv run python tests/benchmarks/telemetry.py [ROUNDS]

Three copies of one run train in turn in one process, with telemetry `off`, `normal` and `debug`.
They have the same seeds, so each plays the same rounds and does the same work besides telemetry. A
ratio is that of the seconds of one round to those of the same round with `off`, median over rounds.
CPU seconds are those of all threads, the writer of the log included; they tell more than wall
seconds where other work runs on the machine. CIFAR-10's pictures are noise in its own file format.

The rounds of three copies differ by several per cent from one another, also with telemetry `off`.
So the cost is measured once more alone: the CPU time that emitting, encoding and writing the
events of those rounds takes, as a share of the CPU time of the rounds. What the Monitor spends on
making payloads from reports is in the ratios only.

The text goes to the screen and to telemetry.txt beside this file; it takes less than ten minutes on
two idle cores.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from engine import small, write_cifar10
from pydantic import TypeAdapter
from report import Report

from esper_karn import EventReader, Folding
from esper_kasmina import build_host
from esper_leyline import TaskSpec, TrainingConfig, override
from esper_leyline.events import PAYLOADS, AnyPayload, Event, encode_event, kinds_at
from esper_nissa import Hub, JsonlSink, Monitor
from esper_simic import PPORunner, build_reward
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import build_environment, find_task
from esper_train.measurements import required_measurements

LEVELS = ("off", "normal", "debug")
RESULTS = Path(__file__).with_suffix(".txt")
READ_EVENTS = 60_000
EMIT_RATE = 2_000
EMIT_SECONDS = 4


class Run:
    """A run in this process, with its log."""

    def __init__(self, task: TaskSpec, config: TrainingConfig, level: str, log: Path) -> None:
        self.log = log
        self.hub = Hub("benchmark", [JsonlSink(log)], kinds_at(level))
        reward = build_reward(config.reward, gamma=config.ppo.gamma)
        needs = required_measurements(config, reward)
        self._environment = build_environment(task, config, build_host, "cpu", requires=needs)
        torch.manual_seed(config.seed)
        spec = self._environment.spec
        policy = RecurrentPolicy(spec, config.policy, critic=config.ppo.critic)
        self._runner = PPORunner(
            *(self._environment, policy, reward, config.ppo, Monitor(self.hub)),
            rng_seed=config.seed,
        )

    def play_round(self) -> tuple[float, float]:
        """Plays a round and updates the policy; returns wall seconds and CPU seconds."""
        cpu, wall = time.process_time(), time.perf_counter()
        self._runner.learn(self._runner.rounds_completed + 1)
        wall = time.perf_counter() - wall
        time.sleep(0.2)  # the writer empties the queue
        return wall, time.process_time() - cpu

    def close(self) -> None:
        """Ends the run."""
        self._environment.close()
        self.hub.close()


def train(
    report: Report, task: TaskSpec, changes: dict[str, object], rounds: int, folder: Path
) -> dict[str, Path]:
    """Trains with each level in turn; returns the logs."""
    config = override(find_task(task.name).preset(), changes)
    logs = {level: folder / f"{task.name}-{level}.jsonl" for level in LEVELS}
    with ExitStack() as stack:
        runs = {level: Run(task, config, level, logs[level]) for level in LEVELS}
        for run in runs.values():
            stack.callback(run.close)
            run.play_round()  # the first round warms up
        seconds: dict[str, list[tuple[float, float]]] = {level: [] for level in LEVELS}
        for number in range(rounds):
            order = LEVELS if number % 2 == 0 else LEVELS[::-1]
            for level in order:
                seconds[level].append(runs[level].play_round())
    assert logs["off"].read_bytes() == b""
    steps = config.n_envs * (config.max_epochs or 1)
    middle = [statistics.median(column) for column in zip(*seconds["off"], strict=True)]
    report.say(
        f"{task.name}: {rounds} rounds of {steps} host steps, each "
        f"{1e3 * middle[0] / steps:.2f} ms wall and {1e3 * middle[1] / steps:.2f} ms CPU"
    )
    for level, bar in (("normal", 1.0), ("debug", 5.0)):
        for index, clock in enumerate(("wall", "CPU")):
            pairs = zip(seconds[level], seconds["off"], strict=True)
            ratios = [100 * (one[index] / other[index] - 1) for one, other in pairs]
            low, median, high = statistics.quantiles(ratios, n=4)
            name = f"  {level} over off, {clock} ({low:+.1f} to {high:+.1f})"
            report.bar(name, median, bar, unit="% more")
        share = 100 * _own_seconds(logs[level]) / (middle[1] * (rounds + 1))
        report.bar(f"  {level}: emit, encode and write alone, CPU", share, bar, unit="% of off")
    return logs


def _own_seconds(log: Path) -> float:
    """CPU seconds of emitting, encoding and writing all events of a log, best of three."""
    events = read_events(log)

    def write() -> None:
        with Hub("own", [JsonlSink(log.with_suffix(".again"))], frozenset(PAYLOADS)) as hub:
            for each in events:
                place = {"round": each.round, "epoch": each.epoch}
                hub.emit(each.payload, environment=each.environment, **place)

    return min(_cpu_seconds(write) for _ in range(3))


def read_events(log: Path) -> list[Event]:
    """Returns all events of a log."""
    with EventReader(log) as reader:
        events = list(reader.read())
        assert reader.problem_count == 0
    return events


def measure_size(report: Report, log: Path) -> None:
    """Compares the bytes of a log per host step with the bar."""
    steps = sum(event.kind == "epoch_completed" for event in read_events(log))
    report.bar("log at level normal, three slots", log.stat().st_size / steps, 3_000, unit="B/step")


def measure_encoding(report: Report, log: Path) -> None:
    """Compares lines of a log with the same events in full and with all digits."""
    events = read_events(log)
    full = TypeAdapter(Event)
    encode = min(_cpu_seconds(lambda: [encode_event(each) for each in events]) for _ in range(5))
    plain = min(_cpu_seconds(lambda: [full.dump_json(each) for each in events]) for _ in range(5))
    report.say(
        f"encoding: {1e6 * encode / len(events):.1f} us an event, {encode / plain:.2f} of the time "
        "that all digits and defaults take"
    )


def measure_emit(report: Report, log: Path, folder: Path) -> None:
    """Emits the events of a log at a steady rate, each after a pause, and then in pairs.

    After a pause the processor's caches are cold, and other threads have run: the second event of
    a pair shows what emitting itself takes.
    """
    payloads = [event.payload for event in read_events(log)]
    single = _emit_paced(payloads, 1, folder)
    pairs = _emit_paced(payloads, 2, folder)
    middle, slow = _median_and_slow(single)
    report.say(f"emit at {EMIT_RATE:,} a second: median {middle:.1f} us")
    report.bar("  99th percentile", slow, 20, unit="us")
    middle, slow = _median_and_slow(pairs[1::2])
    report.say(f"the second of two events at once: median {middle:.1f} us")
    report.bar("  99th percentile", slow, 20, unit="us")


def _emit_paced(payloads: list[AnyPayload], at_once: int, folder: Path) -> list[float]:
    """Seconds of each call of ``emit``, with a pause after every ``at_once`` of them."""
    seconds: list[float] = []
    with Hub("emit", [JsonlSink(folder / "emit.jsonl")], frozenset(PAYLOADS)) as hub:
        start = time.perf_counter()
        for number in range(EMIT_RATE * EMIT_SECONDS):
            wait = start + number / EMIT_RATE - time.perf_counter()
            if wait > 0 and number % at_once == 0:
                time.sleep(wait)
            before = time.perf_counter()
            hub.emit(payloads[number % len(payloads)], round=1, epoch=number, environment=0)
            seconds.append(time.perf_counter() - before)
    return seconds


def _median_and_slow(seconds: list[float]) -> tuple[float, float]:
    """Returns the median and the 99th percentile in microseconds."""
    percentiles = statistics.quantiles(seconds, n=100)
    return 1e6 * percentiles[49], 1e6 * percentiles[98]


def measure_reading(report: Report, log: Path, folder: Path) -> None:
    """Reads and folds a long log, made of the events of a run again and again."""
    long = folder / "long.jsonl"
    with long.open("wb") as file:
        for event in _repeated(read_events(log)):
            file.write(encode_event(event, name_run=event.sequence == 0) + b"\n")

    def read() -> None:
        folding = Folding()
        with EventReader(long) as reader:
            for event in reader.read():
                folding.take(event)
        assert folding.state().cursor.sequence == READ_EVENTS - 1

    best = min(_cpu_seconds(read) for _ in range(3))
    report.bar(
        "read and fold a log at level debug, CPU", READ_EVENTS / best, 40_000, unit="/s", least=True
    )


def _repeated(events: list[Event]) -> Iterator[Event]:
    ended = next(n for n, event in enumerate(events) if (event.round or 0) > 1)
    first = [event for event in events[:ended] if event.round == 1]
    for number in range(READ_EVENTS):
        event = first[number % len(first)]
        yield replace(
            event, sequence=number, round=1 + number // len(first), monotonic=number / 100
        )


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main(rounds: int) -> int:
    """Runs everything; returns the number of bars that were not reached."""
    torch.set_num_threads(1)
    report = Report()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    report.say(f"torch {torch.__version__}, one thread, load of the machine before: {load}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cifar10(folder)
        common = {"data_root": str(folder), "n_envs": 4, "seed": 7, "device": "cpu", "workers": 1}
        blind = find_task("mnist1d_blind").spec
        logs = train(report, blind, common, rounds, folder)
        pictures = common | {"n_envs": 2, "max_epochs": 6, "ppo": {"minibatches": 1}}
        train(report, small(find_task("cifar10").spec), pictures, max(2, rounds // 4), folder)
        measure_size(report, logs["normal"])
        measure_encoding(report, logs["normal"])
        measure_emit(report, logs["debug"], folder)
        measure_reading(report, logs["debug"], folder)
    report.say(f"bars not reached: {report.missed}")
    RESULTS.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    return report.missed


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)))
