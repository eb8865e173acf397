"""What a host and its seeds compute, counted operation by operation on a throwaway host."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

import torch
from torch.utils.flop_counter import FlopCounterMode

from esper_kasmina import PathHost, build_host
from esper_leyline import (
    ACTIVE_STAGES,
    Advance,
    AnyBlueprint,
    BlendStyle,
    Germinate,
    LifecycleRules,
    Op,
    SeedCommand,
    SeedReport,
    SeedStage,
    StepReport,
    TaskSpec,
    TrainingConfig,
)
from esper_train.evaluation.results import GrownSeed

TRAINING_PASSES = 3
"""Forward passes that training on a row costs: the backward pass counts as two."""

_ROWS = 2
_Grown = tuple[str, AnyBlueprint, BlendStyle]
_Configurations = tuple[tuple[str, ...], ...]
_CHANGES_OUTPUT = ACTIVE_STAGES - {SeedStage.TRAINING}


class FlopCounter:
    """Floating-point operations of forward passes, a row at a time.

    Matrix products, convolutions and attention are counted, a multiplication and an addition
    being two operations; what works element by element (norms, activations, blending) is
    not, so a seed of blueprint NORM costs nothing here.
    """

    def __init__(self, task: TaskSpec, config: TrainingConfig) -> None:
        self._task = task
        self._slots = config.slots or task.slots
        training = config.host or task.training
        rows = task.data.train_size
        self.rows = min(training.batches(rows) * training.batch_size, rows)
        self.validation_rows = task.data.validation_size
        self._seeds: dict[_Grown, int] = {}
        self._compared: dict[tuple[tuple[_Grown, ...], _Configurations], int] = {}

    @cached_property
    def host(self) -> int:
        """Operations of a host without seeds."""
        return self._count(self._host())

    def seed(self, seed: SeedReport | GrownSeed) -> int:
        """Operations that a slot's seed adds, its gate included; 0 for an empty slot."""
        if seed.blueprint is None or seed.style is None:
            return 0
        grown = (seed.slot, seed.blueprint, seed.style)
        if grown not in self._seeds:
            host = self._host()
            blueprint, style = seed.blueprint, seed.style
            for command in (Germinate(blueprint=blueprint, style=style), Advance()):
                accepted = host.apply_command(SeedCommand(slot=seed.slot, command=command))
                assert accepted.accepted, accepted.reason
            self._seeds[grown] = self._count(host) - self.host
        return self._seeds[grown]

    def forward(self, report: StepReport) -> int:
        """Operations a row of the network as it stands: seeds in isolation change no output."""
        return self.host + sum(
            self.seed(seed) for seed in report.seeds if seed.stage in _CHANGES_OUTPUT
        )

    def epoch(self, previous: StepReport, report: StepReport) -> int:
        """Operations that training took between two reports, seeds that went since included."""
        trained = (
            self.seed(after if after.occupied else before)
            for slot, (before, after) in enumerate(zip(previous.seeds, report.seeds, strict=True))
            if _trained(slot, before, after, report)
        )
        return self.rows * TRAINING_PASSES * (self.host + sum(trained))

    def whole_epoch(self, seeds: Iterable[GrownSeed]) -> int:
        """Operations that an epoch takes of a network in which all these seeds train."""
        return self.rows * TRAINING_PASSES * (self.host + sum(map(self.seed, seeds)))

    def validation(self, previous: StepReport, report: StepReport) -> int:
        """Operations that an epoch's validation took, counterfactuals included.

        Configurations share what they have in common, as the host computes them.
        """
        configurations = tuple(each.active for each in report.counterfactuals)
        if not configurations:
            return self.validation_rows * self.host
        # Whatever blends after an epoch stood in its slot before it.
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
        """Operations of validating a network with all these seeds, without counterfactuals."""
        return self.validation_rows * (self.host + sum(map(self.seed, seeds)))

    def _compare(self, grown: tuple[_Grown, ...], configurations: _Configurations) -> int:
        host = self._host()
        for slot, blueprint, style in grown:
            host.slot(slot).build_in(blueprint, style)
        host.train(False)
        disabled = [frozenset(configurations[0]) - set(active) for active in configurations]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            host.counterfactuals(self._rows(), disabled)
        return int(counter.get_total_flops()) // _ROWS

    def _host(self) -> PathHost:
        return build_host(
            self._task.host, slots=self._slots, rules=LifecycleRules(), max_seeds=None, seed=0
        )

    def _count(self, host: PathHost) -> int:
        # In training mode: a seed in isolation takes part in training passes alone.
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
    """Whether a slot's seed took part in the epoch between its two reports.

    A command that ends a seed at once comes before the epoch, whose tick then closes the
    slot; a seed that goes at the end of the epoch is still PRUNED when it is reported.
    """
    if before.stage in ACTIVE_STAGES:
        return after.stage is not SeedStage.EMBARGOED
    action = report.action
    assert action is not None
    awakened = action.op is Op.ADVANCE and action.slot == slot and report.action_succeeded
    return before.stage is SeedStage.GERMINATED and bool(awakened)
