"""What counterfactuals cost an epoch of a grown host. Run by hand:

    uv run python tests/benchmarks/counterfactual_costs.py [PAIRS]

For hosts with blended seeds it times a validation, and an epoch of training with it, as the
default set of counterfactuals has it, over the same with each seed left out and no more:
one process, A B A B, median (quartiles). Training rows to validation rows are as 9 to 1 for
images and as 2 to 1 for signals, as in the tasks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from abba_timing import compare as time_pairs
from torch import Tensor

from esper_kasmina import CNNHost, build_host
from esper_leyline import Advance, Blueprint, Germinate, HostOptions, HostTraining, SeedCommand
from esper_leyline.config.host import CounterfactualSet
from esper_tolaria import Split, find_task
from esper_tolaria.engine.trainer import Trainer
from esper_tolaria.validation.counterfactuals import compare
from esper_tolaria.validation.validate import ScoreRequest, read, score

LEFT_OUT = CounterfactualSet(none=False, pairs=False)
BLUEPRINTS = (Blueprint.NORM, Blueprint.DEPTHWISE, Blueprint.CONV_LIGHT)


@dataclass(frozen=True)
class Case:
    """A host, rows to train on, rows to validate on, and the batch."""

    name: str
    train: int
    validation: int
    batch: int


CASES = (
    Case("mnist1d_blind", 2000, 1000, 100),
    Case("cifar10", 4500, 500, 512),
    Case("cifar10_deep", 4500, 500, 512),
)


class Grown:
    """A host with a seed in every slot, half blended in, and its data."""

    def __init__(self, case: Case, blueprint: Blueprint) -> None:
        spec = find_task(case.name).spec.host
        self.host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
        assert isinstance(self.host, CNNHost)
        training = HostTraining(optimizer="adamw", learning_rate=0.001, seed_learning_rate=0.001)
        self.trainer = Trainer(self.host, training, rng_seed=1, device=torch.device("cpu"))
        self.batch = case.batch
        self.train_rows = _rows(case.train, spec.input_shape)
        self.validation_rows = Split(*_rows(case.validation, spec.input_shape))
        self._grow(blueprint)

    def train(self) -> None:
        inputs, targets = self.train_rows
        self.trainer.start_epoch(1)
        for batch in zip(inputs.split(self.batch), targets.split(self.batch), strict=True):
            self.trainer.train_batch(*batch, last=False)

    def validate(self, asked: CounterfactualSet) -> int:
        """Returns how many hosts were compared."""
        comparison = compare(self.host.seed_reports(), asked, last=False, key=(1, 1))
        read(
            score(self.host, self.validation_rows, ScoreRequest(disabled=comparison.disabled), 10),
            comparison,
        )
        return len(comparison.coalitions)

    def _grow(self, blueprint: Blueprint) -> None:
        for command in (Germinate(blueprint=blueprint), Advance(), Advance()):
            for slot in self.host.slots:
                result = self.host.apply_command(SeedCommand(slot=slot, command=command))
                assert result.accepted, result.reason
            self.trainer.sync()
            self.trainer.start_epoch(1)
            inputs, targets = self.train_rows
            self.trainer.train_batch(inputs[: self.batch], targets[: self.batch], last=True)
            self.host.record_validation(50.0, ())
            self.host.tick()


def _rows(count: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.randn(count, *shape), torch.randint(10, (count,))


def measure(case: Case, blueprint: Blueprint, pairs: int) -> None:
    """Prints one host's ratios."""
    grown = Grown(case, blueprint)
    default = CounterfactualSet()
    counts = grown.validate(default), grown.validate(LEFT_OUT)
    validation = time_pairs(
        lambda: grown.validate(default), lambda: grown.validate(LEFT_OUT), pairs=pairs, repeats=2
    )

    def epoch(asked: CounterfactualSet) -> None:
        grown.train()
        grown.validate(asked)

    whole = time_pairs(
        lambda: epoch(default), lambda: epoch(LEFT_OUT), pairs=max(3, pairs // 3), repeats=1
    )
    seeds = f"{len(grown.host.slots)} x {blueprint}"
    print(
        f"{case.name:<14} {seeds:<15} {counts[0]:>2} hosts over {counts[1]}: "
        f"validation {validation}, epoch {whole}, {whole.seconds[0]:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, {count} pairs; median (quartiles)")
    for one in CASES:
        for each in BLUEPRINTS:
            measure(one, each, count)
