"""What slots and seeds cost, against the same layers without them. Run by hand:

    uv run python tests/benchmarks/kasmina_costs.py [PAIRS]

Each line is a ratio of times in one process, A B A B, median (quartiles):

- dormant: forward and backward of a host with three empty slots over the same host without;
- training: a host with one TRAINING seed over that host and the bare branch side by side;
- counterfactuals: main, three leave-one-out and none over one validation pass;
- memory: growth of the process over 1,000 germinate-prune cycles.
"""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from abba_timing import compare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from esper_kasmina import CNNHost, SequentialHost, build_host, graft
from esper_leyline import (
    Advance,
    Blueprint,
    Fossilize,
    Germinate,
    HostOptions,
    LifecycleRules,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
)
from esper_leyline.commands import SlotCommand
from esper_tolaria import find_task

SLOTS = ("r0c0", "r0c1", "r0c2")
BRANCHES = (Blueprint.NORM, Blueprint.DEPTHWISE, Blueprint.CONV_LIGHT)


class Bare(nn.Module):
    """A host's layers without slots, as one would write them."""

    def __init__(self, host: CNNHost) -> None:
        super().__init__()
        self.blocks = copy.deepcopy(host.blocks)
        self.classifier = copy.deepcopy(host.classifier)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        for block in self.blocks:
            hidden = block(hidden)
        return self.classifier(hidden.flatten(2).mean(2))


class SideBySide(nn.Module):
    """A host's layers, and a bare branch beside one of them with a loss of its own."""

    def __init__(self, bare: Bare, branch: nn.Module, after: int) -> None:
        super().__init__()
        self.bare, self.branch, self.after = copy.deepcopy(bare), copy.deepcopy(branch), after

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        hidden, beside = inputs, None
        for depth, block in enumerate(self.bare.blocks):
            hidden = block(hidden)
            if depth == self.after:
                beside = self.branch(hidden.detach())
        logits = self.bare.classifier(hidden.flatten(2).mean(2))
        return cross_entropy(logits, labels) + beside.mean()


def cifar10() -> CNNHost:
    host = build_host(find_task("cifar10").spec.host, HostOptions(slots=SLOTS, rng_seed=1))
    assert isinstance(host, CNNHost)
    return host


def step(model: nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    """Returns one forward and backward pass."""

    def work() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        cross_entropy(model(inputs), labels).backward()

    return work


def images(batch: int, size: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    return inputs, torch.randint(10, (batch,))


def give(host: SequentialHost, slot: str, command: SlotCommand) -> None:
    result = host.apply_command(SeedCommand(slot=slot, command=command))
    assert result.accepted, result.reason


def fossilize(host: SequentialHost, slot: str, blueprint: Blueprint) -> None:
    """Brings a seed through its life in a hurry."""
    give(host, slot, Germinate(blueprint=blueprint))
    give(host, slot, Advance())
    nn.init.constant_(host.slot(slot).seed.scale, 0.5)
    step(host.train(), *images(16, 32))()
    host.record_gradients()
    host.tick()
    give(host, slot, Advance())
    while host.slot(slot).alpha < 1.0:
        host.tick()
    give(host, slot, Advance())
    host.record_validation(50.0, [SeedMeasurement(slot=slot, contribution=1.0)])
    give(host, slot, Fossilize())
    assert host.slot(slot).stage is SeedStage.FOSSILIZED


def dormant(pairs: int) -> None:
    host = cifar10()
    for batch in (32, 512):
        data = images(batch, 32)
        ratio = compare(
            step(host, *data),
            step(Bare(host), *data),
            pairs=pairs,
            repeats=max(1, 640 // batch),
        )
        print(f"dormant         cifar10, batch {batch:<4}            {ratio}   bar 1.02")
    torch.manual_seed(0)
    plain = resnet18(num_classes=10)
    data = images(32, 64)
    grafted = graft(copy.deepcopy(plain), {"r0c0": "layer1", "r0c1": "layer2", "r0c2": "layer3"})
    grafted.run_example(data[0])
    ratio = compare(step(grafted, *data), step(plain, *data), pairs=pairs, repeats=1)
    print(f"dormant         resnet18, batch 32, 64 x 64       {ratio}   bar 1.02")


def training(pairs: int) -> None:
    data = images(512, 32)
    for after, slot in enumerate(SLOTS):
        for blueprint in BRANCHES:
            host = cifar10()
            bare = Bare(host)
            give(host, slot, Germinate(blueprint=blueprint))
            give(host, slot, Advance())
            beside = SideBySide(bare, host.slot(slot).seed.branch, after)

            def reference(beside: SideBySide = beside) -> None:
                for parameter in beside.parameters():
                    parameter.grad = None
                beside.loss(*data).backward()

            ratio = compare(step(host, *data), reference, pairs=pairs, repeats=1)
            name = blueprint
            print(f"training        cifar10, {slot} {name:<20} {ratio}   bar 1.10")


def counterfactuals(pairs: int) -> None:
    inputs, _ = images(500, 32)
    wanted = [frozenset(), *(frozenset({slot}) for slot in SLOTS), frozenset(SLOTS)]
    for blueprint in BRANCHES:
        host = cifar10()
        for slot in SLOTS:
            fossilize(host, slot, blueprint)
        host.eval()

        def all_five(host: CNNHost = host) -> None:
            with torch.inference_mode():
                host.counterfactuals(inputs, wanted)

        def one(host: CNNHost = host) -> None:
            with torch.inference_mode():
                host(inputs)

        ratio = compare(all_five, one, pairs=pairs, repeats=1)
        name = blueprint
        print(f"counterfactuals cifar10, five, {name:<18} {ratio}   bar 2.2")


def memory() -> None:
    host = build_host(
        find_task("cifar10").spec.host,
        HostOptions(
            slots=SLOTS, rules=LifecycleRules(min_prune_age=0, embargo_ticks=1), rng_seed=1
        ),
    )
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01, momentum=0.9)
    data = images(8, 32)
    sizes = []
    for cycle in range(1_100):
        give(host, "r0c1", Germinate(blueprint=Blueprint.CONV_LIGHT))
        give(host, "r0c1", Advance())
        host.sync_optimizer(optimizer)
        step(host, *data)()
        optimizer.step()
        host.prune_live()
        host.sync_optimizer(optimizer)
        for _ in range(3):
            host.tick()
        if cycle in (99, 1_099):
            gc.collect()
            sizes.append(resident())
    print(f"memory          1,000 germinate-prune cycles      {sizes[1] - sizes[0]:+,} kB")


def resident() -> int:
    """Returns the memory this process holds, in kB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, {count} pairs; median (quartiles)")
    dormant(count)
    training(count)
    counterfactuals(count)
    memory()
