"""FLOPs of a host and its seeds, counted by running a host that is then discarded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import torch
from torch.utils.flop_counter import FlopCounterMode

from esper_leyline import (
    ACTIVE_STAGES,
    Advance,
    BlendStyle,
    Germinate,
    MorphogeneticHost,
    Op,
    SeedCommand,
    SeedReport,
    SeedStage,
    StepReport,
    TaskSpec,
    TrainingConfig,
)
from esper_simic.evaluation.results import GrownSeed

TRAINING_PASSES = 3
"""Forward passes that training on a row costs: one, and two for the backward pass."""

GrownHostFactory = Callable[[Sequence[GrownSeed]], MorphogeneticHost]
"""Builds the host of a task with these seeds in its slots, each fully blended in."""

_ROWS = 2
_Grown = tuple[str, str, BlendStyle]
_Configurations = tuple[tuple[str, ...], ...]
_CHANGES_OUTPUT = ACTIVE_STAGES - {SeedStage.TRAINING}


class FlopCounter:
    """FLOPs of forward passes, per row.

    Matrix products, convolutions and attention are counted, a multiply-add being two
    operations. Elementwise operations (norms, activations, blending) are not counted, so a
    seed of blueprint NORM costs nothing here.

    Attributes:
        rows: Training rows of an epoch.
        validation_rows: Rows of a validation.

    Args:
        task: The task of the hosts.
        config: How they are trained.
        build_host: Builds a host of the task; called once for each kind of network.
    """

    def __init__(
        self, task: TaskSpec, config: TrainingConfig, build_host: GrownHostFactory
    ) -> None:
        self._task = task
        self._build_host = build_host
        training = config.host or task.training
        rows = task.data.train_size
        self.rows = min(training.batches(rows) * training.batch_size, rows)
        self.validation_rows = task.data.validation_size
        self._seeds: dict[_Grown, int] = {}
        self._compared: dict[tuple[tuple[_Grown, ...], _Configurations], int] = {}

    @cached_property
    def host(self) -> int:
        """FLOPs of a host without seeds."""
        return self._count(self._build_host(()))

    def seed(self, seed: SeedReport | GrownSeed) -> int:
        """FLOPs that a slot's seed adds, its gate included; 0 for an empty slot."""
        if seed.blueprint is None or seed.style is None:
            return 0
        grown = (seed.slot, seed.blueprint, seed.style)
        if grown not in self._seeds:
            host = self._build_host(())
            blueprint, style = seed.blueprint, seed.style
            for command in (Germinate(blueprint=blueprint, style=style), Advance()):
                accepted = host.apply_command(SeedCommand(slot=seed.slot, command=command))
                assert accepted.accepted, accepted.reason
            self._seeds[grown] = self._count(host) - self.host
        return self._seeds[grown]

    def forward(self, report: StepReport) -> int:
        """FLOPs of the network in evaluation mode; seeds in isolation do not change its output."""
        return self.host + sum(
            self.seed(seed) for seed in report.seeds if seed.stage in _CHANGES_OUTPUT
        )

    def epoch(self, previous: StepReport, report: StepReport) -> int:
        """FLOPs of training between two reports, seeds removed since then included."""
        trained = (
            self.seed(after if after.occupied else before)
            for slot, (before, after) in enumerate(zip(previous.seeds, report.seeds, strict=True))
            if _trained(slot, before, after, report)
        )
        return self.rows * TRAINING_PASSES * (self.host + sum(trained))

    def whole_epoch(self, seeds: Iterable[GrownSeed]) -> int:
        """FLOPs of an epoch of a network in which all these seeds train."""
        return self.rows * TRAINING_PASSES * (self.host + sum(map(self.seed, seeds)))

    def validation(self, previous: StepReport, report: StepReport) -> int:
        """FLOPs of an epoch's validation, counterfactuals included.

        The counterfactuals share their common prefix, as in ``host.counterfactuals``.
        """
        configurations = tuple(each.active for each in report.counterfactuals)
        if not configurations:
            return self.validation_rows * self.host
        # A seed that is active after an epoch was in its slot before it.
        before = {seed.slot: seed for seed in previous.seeds}
        grown: list[_Grown] = []
        for slot in configurations[0]:
            blueprint, style = before[slot].blueprint, before[slot].style
            assert blueprint is not None
            assert style is not None
            grown.append((slot, blueprint, style))
        key = (tuple(grown), configurations)
        if key not in self._compared:
            self._compared[key] = self._compare(*key)
        return self.validation_rows * self._compared[key]

    def whole_validation(self, seeds: Iterable[GrownSeed]) -> int:
        """FLOPs of validating a network with all these seeds, without counterfactuals."""
        return self.validation_rows * (self.host + sum(map(self.seed, seeds)))

    def _compare(self, grown: tuple[_Grown, ...], configurations: _Configurations) -> int:
        stage = SeedStage.FOSSILIZED
        seeds = [
            GrownSeed(slot=slot, blueprint=blueprint, style=style, stage=stage)
            for slot, blueprint, style in grown
        ]
        host = self._build_host(seeds)
        host.train(False)
        disabled = [frozenset(configurations[0]) - set(active) for active in configurations]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            host.counterfactuals(self._rows(), disabled)
        return int(counter.get_total_flops()) // _ROWS

    def _count(self, host: MorphogeneticHost) -> int:
        # Training mode, because a seed in isolation runs in training passes only.
        host.train(True)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            host(self._rows())
        total = int(counter.get_total_flops())
        assert math.gcd(total, _ROWS) == _ROWS
        return total // _ROWS

    def _rows(self) -> torch.Tensor:
        shape = (_ROWS, *self._task.data.input_shape)
        kind = torch.long if self._task.host.kind == "transformer" else torch.float32
        return torch.zeros(shape, dtype=kind)


def _trained(slot: int, before: SeedReport, after: SeedReport, report: StepReport) -> bool:
    """Whether a slot's seed was trained in the epoch between its two reports.

    A command that removes a seed at once is executed before the epoch, so the slot is
    EMBARGOED after it. A seed that is removed at the end of the epoch is still PRUNED.
    """
    if before.stage in ACTIVE_STAGES:
        return after.stage is not SeedStage.EMBARGOED
    action = report.action
    assert action is not None
    awakened = action.op is Op.ADVANCE and action.slot == slot and report.action_succeeded
    return before.stage is SeedStage.GERMINATED and bool(awakened)
