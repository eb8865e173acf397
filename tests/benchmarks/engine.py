"""How fast hosts train side by side, against a plain loop that trains one after another.

    uv run python tests/benchmarks/engine.py [PAIRS]

The plain loop has the same layers, batches, optimiser, clipping and epochs, its data in
memory as tensors, the better of one and two threads, and one plain validation pass per
epoch. Times are whole steps of the environment and whole epochs of the loop, in turn in
one process, A B A B; each line is the loop's time over the engine's, median (quartiles):
above 1 the engine is faster. CIFAR-10's pictures are noise in its own file format, which
takes as long as the real ones.
"""

from __future__ import annotations

import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from abba_timing import compare
from torch import nn
from torch.nn.functional import cross_entropy

from esper_karn import EventReader
from esper_kasmina import build_host
from esper_leyline import (
    Blueprint,
    CNNHostSpec,
    Environment,
    FactoredAction,
    Op,
    TaskSpec,
    TrainingConfig,
    override,
)
from esper_tolaria import build_environment, find_task, load_dataset

WAIT = FactoredAction()
BATCHES = 20
VALIDATION = 2_500


def write_cifar10(root: Path) -> None:
    """Writes pictures of noise as CIFAR-10's files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = generator.integers(0, 256, (10_000, 3_072), dtype=np.uint8)
        labels = generator.integers(0, 10, 10_000).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}))


class Bare(nn.Module):
    """The host's layers as anyone writes them: convolution, norm, ReLU, pooling."""

    def __init__(self, spec: CNNHostSpec, beside: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        flat = len(spec.input_shape) == 2
        convolution = nn.Conv1d if flat else nn.Conv2d
        norm = nn.BatchNorm1d if flat else nn.BatchNorm2d
        pool = nn.MaxPool1d if flat else nn.MaxPool2d
        widths = (spec.input_shape[0], *spec.widths)
        layers: list[nn.Module] = []
        for index, width in enumerate(spec.widths):
            layers += [
                convolution(widths[index], width, spec.kernel, padding="same", bias=False),
                norm(width),
                nn.ReLU(),
            ]
            layers += [pool(2)] if spec.pools[index] else []
            layers += [beside(width)] if beside is not None else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(spec.widths[-1], spec.classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(inputs).flatten(2).mean(2))


class Residual(nn.Module):
    """What a fossil of a light convolution computes, written plainly."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
        )
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.scale * self.branch(hidden)


class PlainLoop:
    """Trains copies of a network one after another, an epoch a call."""

    def __init__(self, task: TaskSpec, root: Path, models: Sequence[nn.Module]) -> None:
        self.task, self.data, self.models = task, load_dataset(task, root), list(models)
        images = len(task.data.input_shape) == 3
        self.order = torch.channels_last if images else torch.contiguous_format
        training = task.training
        for model in self.models:
            model.to(memory_format=self.order)
        make = {
            "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=5e-4),
            "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
        }[training.optimizer]
        self.optimizers = [make(model.parameters()) for model in self.models]

    def epoch(self, threads: int) -> None:
        torch.set_num_threads(threads)
        size, train = self.task.training.batch_size, self.data.train
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            model.train()
            order = torch.randperm(len(train))
            limit = self.task.training.max_batches * size or len(train)
            for rows in order[:limit].split(size):
                inputs = train.inputs[rows].contiguous(memory_format=self.order)
                optimizer.zero_grad()
                cross_entropy(model(inputs), train.targets[rows]).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
            self._validate(model)
        torch.set_num_threads(1)

    @torch.no_grad()
    def _validate(self, model: nn.Module) -> int:
        model.eval()
        split = self.data.validation
        pairs = zip(split.inputs.split(500), split.targets.split(500), strict=True)
        return sum(
            (model(each.contiguous(memory_format=self.order)).argmax(1) == labels).sum().item()
            for each, labels in pairs
        )

    def best(self) -> Callable[[], None]:
        """Returns an epoch with the better number of threads."""
        seconds = {}
        for threads in (1, 2):
            self.epoch(threads)
            started = time.perf_counter()
            self.epoch(threads)
            seconds[threads] = time.perf_counter() - started
        threads = min(seconds, key=lambda each: seconds[each])
        return lambda: self.epoch(threads)


def small(task: TaskSpec) -> TaskSpec:
    """Cuts an epoch to what a benchmark can repeat, without augmentation."""
    training = task.training.model_copy(
        update={"max_batches": BATCHES, "augmentation": type(task.training.augmentation)()}
    )
    data = task.data.model_copy(update={"validation_size": VALIDATION})
    return task.model_copy(update={"training": training, "data": data})


def environment(task: TaskSpec, hosts: int, root: Path) -> Environment:
    config = override(
        TrainingConfig(task=task.name, data_root=str(root)),
        {"n_envs": hosts, "max_epochs": 10_000},
    )
    made = build_environment(task, config, build_host, "cpu")
    made.reset(list(range(hosts)))
    return made


def report(name: str, ratio: object, bar: str) -> None:
    print(f"{name:<46} {ratio!s:<28} {bar}", flush=True)


def without_seeds(task: TaskSpec, hosts: int, root: Path, pairs: int, bar: str) -> None:
    engine = environment(task, hosts, root)
    loop = PlainLoop(task, root, [Bare(task.host) for _ in range(hosts)]).best()
    ratio = compare(loop, lambda: engine.step([WAIT] * hosts), pairs=pairs, repeats=1)
    engine.close()
    report(f"{task.name}, {hosts} hosts, no seeds", ratio, bar)


def grow_everywhere(engine: Environment, hosts: int) -> None:
    """Brings light convolutions to full strength in all slots of all hosts."""
    for slot in range(3):
        for action in (
            FactoredAction(
                op=Op.GERMINATE, slot=slot, blueprint=Blueprint.CONV_LIGHT, alpha_target=2
            ),
            FactoredAction(op=Op.ADVANCE, slot=slot),
            FactoredAction(op=Op.ADVANCE, slot=slot),
            WAIT,
            WAIT,
            FactoredAction(op=Op.ADVANCE, slot=slot),
        ):
            reports = engine.step([action] * hosts)
            assert all(each.action_succeeded for each in reports), reports[0].rejection


def with_seeds(task: TaskSpec, hosts: int, root: Path, pairs: int) -> None:
    engine = environment(task, hosts, root)
    grow_everywhere(engine, hosts)
    loop = PlainLoop(task, root, [Bare(task.host, Residual) for _ in range(hosts)]).best()
    ratio = compare(loop, lambda: engine.step([WAIT] * hosts), pairs=pairs, repeats=1)
    measured = len(engine.step([WAIT] * hosts)[0].counterfactuals)
    engine.close()
    report(f"{task.name}, {hosts} hosts, 3 seeds, {measured} configurations", ratio, "bar 1.0")


def scaling(task: TaskSpec, root: Path) -> None:
    """Prints what a host costs the more there are, and the memory of all processes."""
    for hosts in (1, 2, 4, 8, 16):
        engine = environment(task, hosts, root)
        engine.step([WAIT] * hosts)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            engine.step([WAIT] * hosts)
            times.append(time.perf_counter() - started)
        pids = [os.getpid(), *getattr(engine, "worker_pids", ())]
        memory = sum(map(resident, pids)) / 2**20
        engine.close()
        each = statistics.median(times) / hosts
        print(
            f"{task.name}, {hosts:>2} hosts: {each:.3f} s a host, {memory:.0f} MB in all processes"
        )


def resident(pid: int) -> int:
    """Returns the bytes of memory that a process has in use."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def python_share(task: TaskSpec, root: Path) -> None:
    """Prints the share of a step that is spent outside of torch's operators."""
    config = override(TrainingConfig(task=task.name, data_root=str(root)), {"n_envs": 4})
    engine = build_environment(task, config, build_host, "cpu", workers=1)
    engine.reset([0, 1, 2, 3])
    engine.step([WAIT] * 4)
    started = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        engine.step([WAIT] * 4)
    wall = time.perf_counter() - started
    engine.close()
    operators = sum(
        event.self_cpu_time_total
        for event in profile.key_averages()
        if event.key.startswith("aten::")
    )
    share = 100 * (1 - operators / 1e6 / wall)
    print(f"{task.name}, outside of torch's operators: {share:.1f} % of a step (bar 10 %)")


def first_step(root: Path) -> None:
    """Prints how long after the command a first step can begin, importing torch included."""
    for task in ("cifar10", "mnist1d_blind"):
        runs = root / f"runs-{task}"
        arguments = f"ppo --task {task} --rounds 1 --episode-length 1 --device cpu --no-tui".split()
        begun = time.time()
        subprocess.run(
            ["esper-train", *arguments, "--data-root", root, "--runs", runs],
            check=True,
            capture_output=True,
        )
        with EventReader(next(runs.glob("*/events.jsonl"))) as reader:
            ready = next(event for event in reader.read() if event.kind == "run_started")
        took = ready.wall_time - begun
        print(f"{task}: hosts wait for their first step {took:.1f} s after the command (bar 10)")


def main(pairs: int) -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {pairs} pairs; loop over engine, median (quartiles)")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_cifar10(root)
        cifar10, blind = small(find_task("cifar10").spec), find_task("mnist1d_blind").spec
        without_seeds(cifar10, 4, root, pairs, "bar 1.8")
        with_seeds(cifar10, 4, root, pairs)
        without_seeds(blind, 8, root, pairs, "bar 2.5 (4 compiled)")
        scaling(blind, root)
        scaling(cifar10, root)
        python_share(cifar10, root)
        first_step(root)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
