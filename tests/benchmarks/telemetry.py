"""What telemetry costs: in training, in the thread that trains, on disk, and for readers.

    uv run python tests/benchmarks/telemetry.py [mnist1d_blind] [cifar10] [log] [--rounds 16]

Three copies of one run train in turn in one process, with telemetry `off`, `normal` and `debug`.
They have the same seeds, so each plays the same rounds and does the same work besides telemetry. A
ratio is that of the seconds of one round to those of the same round with `off`, median over rounds.
CPU seconds are those of all threads, the writer of the log included; they tell more than wall
seconds where other work runs on the machine. CIFAR-10's pictures are noise in its own file format.

The rounds of three copies differ by several per cent from one another, also with telemetry `off`.
So what telemetry costs is also taken by the CPU clocks of its threads in the same rounds: that of
the thread that trains while it makes payloads and emits them, less what the same takes with `off`,
and that of the thread that encodes and writes. Their sum, as a share of the CPU seconds of a round
with `off`, is free of that noise.

`log` trains two rounds and measures the log: its size, encoding, `emit`, reading. The text goes to
the screen, and each part that was measured replaces its section of telemetry.txt beside this file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from engine import small, write_cifar10
from pydantic import TypeAdapter
from report import Report, replace_section

from esper_karn import EventReader, Folding
from esper_kasmina import build_host
from esper_leyline import TaskSpec, TrainingConfig, override
from esper_leyline.events import PAYLOADS, AnyPayload, Event, encode_event, kinds_at
from esper_nissa import Hub, JsonlSink, Monitor
from esper_simic import PPORunner, build_reward
from esper_simic.recorder import RoundRecorder
from esper_simic.runner import ppo
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import build_environment, find_task
from esper_train.measurements import required_measurements

LEVELS = ("off", "normal", "debug")
PARTS = ("mnist1d_blind", "cifar10", "log")
CLOCKS = ("wall", "cpu")
RESULTS = Path(__file__).with_suffix(".txt")
READ_EVENTS = 60_000
EMIT_RATE = 2_000
EMIT_SECONDS = 4


class TimedRecorder(RoundRecorder):
    """Records rounds, and adds up the CPU seconds of the thread that calls it."""

    seconds = 0.0

    def start(self, *arguments: object) -> None:
        """Records the hosts of a round."""
        self._timed(super().start, *arguments)

    def step(self, *arguments: object) -> None:
        """Records a step."""
        self._timed(super().step, *arguments)

    def finish(self) -> object:
        """Closes the round."""
        return self._timed(super().finish)

    @staticmethod
    def _timed(call: Callable[..., object], *arguments: object) -> object:
        began = time.thread_time()
        result = call(*arguments)
        TimedRecorder.seconds += time.thread_time() - began
        return result


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a round took.

    Attributes:
        cpu: Of all threads.
        making: CPU seconds of the thread that trains, in the recorder of the round.
        writing: CPU seconds of the thread that writes the log.
    """

    wall: float
    cpu: float
    making: float
    writing: float


class Run:
    """A run in this process, with its log."""

    def __init__(self, task: TaskSpec, config: TrainingConfig, level: str, log: Path) -> None:
        self.log = log
        before = set(threading.enumerate())
        self.hub = Hub("benchmark", [JsonlSink(log)], kinds_at(level))
        (writer,) = set(threading.enumerate()) - before
        self._clock = time.pthread_getcpuclockid(writer.ident)
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

    def play_round(self) -> Seconds:
        """Plays a round and updates the policy."""
        making, writing = TimedRecorder.seconds, time.clock_gettime(self._clock)
        cpu, wall = time.process_time(), time.perf_counter()
        self._runner.learn(self._runner.rounds_completed + 1)
        wall = time.perf_counter() - wall
        time.sleep(0.2)  # the writer empties the queue
        return Seconds(
            wall=wall,
            cpu=time.process_time() - cpu,
            making=TimedRecorder.seconds - making,
            writing=time.clock_gettime(self._clock) - writing,
        )

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
        seconds: dict[str, list[Seconds]] = {level: [] for level in LEVELS}
        for number in range(rounds):
            order = LEVELS if number % 2 == 0 else LEVELS[::-1]
            for level in order:
                seconds[level].append(runs[level].play_round())
    assert logs["off"].read_bytes() == b""
    steps = config.n_envs * (config.max_epochs or 1)
    middle = [statistics.median(getattr(each, name) for each in seconds["off"]) for name in CLOCKS]
    report.say(
        f"{task.name}: {rounds} rounds of {steps} host steps, each "
        f"{1e3 * middle[0] / steps:.2f} ms wall and {1e3 * middle[1] / steps:.2f} ms CPU"
    )
    for level, bar in (("normal", 1.0), ("debug", 5.0)):
        report_level(report, level, bar, seconds)
    return logs


def report_level(report: Report, level: str, bar: float, seconds: dict[str, list[Seconds]]) -> None:
    """Compares the rounds of one level with those of ``off``."""
    pairs = list(zip(seconds[level], seconds["off"], strict=True))
    for name in CLOCKS:
        ratios = [100 * (getattr(one, name) / getattr(off, name) - 1) for one, off in pairs]
        low, median, high = statistics.quantiles(ratios, n=4)
        report.bar(f"  {level} over off, {name} ({low:+.1f} to {high:+.1f})", median, bar, unit="%")
    making = statistics.median(100 * (one.making - off.making) / off.cpu for one, off in pairs)
    writing = statistics.median(100 * one.writing / off.cpu for one, off in pairs)
    name = f"  {level}, its own CPU: {making:.2f} making, {writing:.2f} writing"
    report.bar(name, making + writing, bar, unit="%")


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
    a pair shows what emitting itself takes. A function that only reads the clock twice, called at
    the same rate in between, shows what no call can go below.
    """
    payloads = [event.payload for event in read_events(log)]
    floors, singles = [], []
    for _ in range(3):
        floors.append(_percentiles(_paced(lambda _: (time.monotonic_ns(), time.monotonic_ns()))))
        singles.append(_percentiles(_emit_paced(payloads, 1, folder)))
    floor, single = _medians(floors), _medians(singles)
    report.say(
        f"emit at {EMIT_RATE:,} a second: median {single[0]:.1f} us; reading the clock twice at "
        f"the same rate: median {floor[0]:.1f} us, 99th percentile {floor[1]:.1f} us"
    )
    report.bar("  99th percentile", single[1], 20, unit="us")
    report.say(f"  {single[1] / floor[1]:.1f} times that of the clock")
    middle, slow = _percentiles(_emit_paced(payloads, 2, folder)[1::2])
    report.say(f"the second of two events at once: median {middle:.1f} us")
    report.bar("  99th percentile", slow, 20, unit="us")


def _emit_paced(payloads: list[AnyPayload], at_once: int, folder: Path) -> list[float]:
    """Seconds of each call of ``emit``, with a pause after every ``at_once`` of them."""
    with Hub("emit", [JsonlSink(folder / "emit.jsonl")], frozenset(PAYLOADS)) as hub:
        return _paced(
            lambda number: hub.emit(
                payloads[number % len(payloads)], round=1, epoch=number, environment=0
            ),
            at_once,
        )


def _paced(call: Callable[[int], object], at_once: int = 1) -> list[float]:
    """Seconds of each call at ``EMIT_RATE``, with a pause after every ``at_once`` of them."""
    seconds: list[float] = []
    start = time.perf_counter()
    for number in range(EMIT_RATE * EMIT_SECONDS):
        wait = start + number / EMIT_RATE - time.perf_counter()
        if wait > 0 and number % at_once == 0:
            time.sleep(wait)
        before = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - before)
    return seconds


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """Returns the median and the 99th percentile in microseconds."""
    percentiles = statistics.quantiles(seconds, n=100)
    return 1e6 * percentiles[49], 1e6 * percentiles[98]


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


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


def main(parts: Sequence[str], rounds: int) -> int:
    """Measures some parts; returns the number of bars that were not reached."""
    torch.set_num_threads(1)
    ppo.RoundRecorder = TimedRecorder  # the runner makes its recorders
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cifar10(folder)
        common = {"data_root": str(folder), "n_envs": 4, "seed": 7, "device": "cpu", "workers": 1}
        for part in parts:
            report = Report()
            load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
            report.say(f"torch {torch.__version__}, one thread, load before: {load}")
            if part == "cifar10":
                pictures = common | {"n_envs": 2, "max_epochs": 6, "ppo": {"minibatches": 1}}
                train(report, small(find_task(part).spec), pictures, max(2, rounds // 4), folder)
            elif part == "mnist1d_blind":
                train(report, find_task(part).spec, common, rounds, folder)
            else:
                measure_log(report, common, folder)
            replace_section(RESULTS, part, report.lines)
            missed += report.missed
    print(f"bars not reached: {missed}")
    return missed


def measure_log(report: Report, common: dict[str, object], folder: Path) -> None:
    """Trains two rounds, and measures the logs."""
    logs = train(Report(), find_task("mnist1d_blind").spec, common, 2, folder)
    measure_size(report, logs["normal"])
    measure_encoding(report, logs["normal"])
    measure_emit(report, logs["debug"], folder)
    measure_reading(report, logs["debug"], folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=16)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part '{unknown.pop()}'; there are {', '.join(PARTS)}")
    sys.exit(min(1, main(arguments.parts or PARTS, arguments.rounds)))
