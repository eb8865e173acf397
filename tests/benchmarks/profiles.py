"""What telemetry profiles cost an episode. Run by hand:

    uv run python tests/benchmarks/profiles.py [PAIRS]

For the hosts of two tasks it plays episodes with each profile over episodes with ``minimal``,
which measures nothing: one process, one thread, A B A B; median (quartiles) of CPU time and of
wall time. ``minimal`` over itself shows the noise. The last columns are what the profiles
themselves say: wall time of one measurement of one host, of the last one of an episode, and all
of them as a share of the episode. Pictures are noise, a twentieth as many as the task has, nine
for training to one for validation, and an episode has 10 epochs: the ratios are above those of the
real task, whose gradients are measured after twenty times as many batches.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from esper_kasmina import build_host
from esper_leyline import FactoredAction, TaskSpec, TrainingConfig, override
from esper_leyline.profiles import PROFILES, HostProfile, ProfileName
from esper_tolaria import Dataset, LocalEnvironment, Split, find_task, load_dataset, make_setup

WAIT = FactoredAction()


@dataclass(frozen=True)
class Case:
    """A task, its hosts side by side, and the epochs of an episode."""

    task: TaskSpec
    data: Dataset
    hosts: int
    epochs: int


@dataclass
class Times:
    """Seconds of the episodes of one profile, one entry each."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    measured: list[HostProfile] = field(default_factory=list)

    def play(self, case: Case, profile: ProfileName) -> None:
        """Plays an episode of fresh hosts."""
        config = override(
            TrainingConfig(task=case.task.name),
            {"n_envs": case.hosts, "max_epochs": case.epochs},
        )
        setup = make_setup(case.task, config, build_host, PROFILES[profile])
        environment = LocalEnvironment(setup, case.data, torch.device("cpu"))
        environment.reset(list(range(case.hosts)))
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(case.epochs):
            reports = environment.step([WAIT] * case.hosts)
            self.measured += [each.profile for each in reports if each.profile is not None]
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)


def images(task: TaskSpec, train: int, validation: int) -> Dataset:
    """Noise in the shape of a task's images."""
    shape, classes = task.data.input_shape, task.data.classes

    def rows(count: int) -> Split:
        split = Split(torch.randn(count, *shape), torch.randint(classes, (count,)))
        return split.to(torch.device("cpu"))

    return Dataset(train=rows(train), validation=rows(validation), test=rows(1), rng_seed=1)


def cases() -> Sequence[Case]:
    """The blind host of MNIST-1D as its preset trains it, and the host of CIFAR-10."""
    signals, pictures = find_task("mnist1d_blind").spec, find_task("cifar10").spec
    return (
        Case(signals, load_dataset(signals), hosts=4, epochs=18),
        Case(pictures, images(pictures, 2_304, 256), hosts=1, epochs=10),
    )


def compare(case: Case, profile: ProfileName, pairs: int) -> str:
    """Returns a line on a profile over ``minimal``."""
    one, other = Times(), Times()
    for index in range(pairs):
        one_first = index % 2 == 0
        for times, name in ((one, profile), (other, "minimal"))[:: 1 if one_first else -1]:
            times.play(case, name)
    ratios = f"{ratio(one.cpu, other.cpu):<24} {ratio(one.wall, other.wall):<24}"
    return f"  {profile:<11} {ratios} {parts(one, case, pairs)}".rstrip()


def ratio(one: Sequence[float], other: Sequence[float]) -> str:
    """Returns the median of the ratios with its quartiles."""
    low, median, high = statistics.quantiles(
        [a / b for a, b in zip(one, other, strict=True)], n=4, method="inclusive"
    )
    return f"{median:.3f} ({low:.3f} to {high:.3f})"


def parts(times: Times, case: Case, pairs: int) -> str:
    """Returns what the profiles of some episodes say of their own time."""
    if not times.measured:
        return ""
    seconds = [each.seconds for each in times.measured]
    per_episode = len(seconds) // pairs
    last = [
        each
        for start in range(0, len(seconds), per_episode)
        for each in seconds[start : start + per_episode][-case.hosts :]
    ]
    share = 100 * sum(seconds) / sum(times.wall)
    usual, final = (1000 * statistics.median(each) for each in (seconds, last))
    return f"{usual:7.2f} ms   last {final:7.2f} ms   {share:5.2f} % of the episode"


def main(pairs: int) -> None:
    """Prints a line for each task and profile."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, {pairs} pairs; median (quartiles)")
    for case in cases():
        print(f"{case.task.name}, {case.hosts} hosts, {case.epochs} epochs an episode")
        Times().play(case, "research")  # warms up
        print(f"  {'profile':<11} {'CPU / minimal':<24} {'wall / minimal':<24} one measurement")
        for profile in PROFILES:
            print(compare(case, profile, pairs), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
