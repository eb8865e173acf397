"""Compares two controllers on an environment of one's own, with esper-simic alone.

The environment is a stand-in for hosts that train: a seed takes three epochs to learn, and
fossilizing it earlier keeps less of its gain.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from esper_leyline import (
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    Op,
    StepReport,
    Topology,
)
from esper_simic.evaluation import compare_controllers, evaluation_seeds

EPOCHS = 6


class ToyEnvironment:
    """Hosts whose accuracy rises by a point for each epoch before FOSSILIZE, at most three."""

    def __init__(self, environments: int) -> None:
        self.spec = EnvironmentSpec(
            environments=environments,
            max_epochs=EPOCHS,
            slots=("r0c0",),
            topology=Topology.MLP,
            blueprints=(Blueprint.NORM,),
            styles=(BlendStyle.LINEAR_ADD,),
            host_parameters=100,
        )
        self._reports: tuple[StepReport, ...] = ()
        self._gains: list[int] = []

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        """Where each host computes."""
        return (HostPlacement(device="cpu"),) * len(self._reports)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode for each random seed."""
        self._gains = [0 for _ in rng_seeds]
        self._growing = [True for _ in rng_seeds]
        self._reports = tuple(
            StepReport(
                environment=index,
                rng_seed=rng_seed,
                epoch=0,
                max_epochs=EPOCHS,
                seeds=(),
                host_parameters=100,
                val_accuracy=50.0,
            )
            for index, rng_seed in enumerate(rng_seeds)
        )
        return self._reports

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Carries out one action for each host."""
        self._reports = tuple(map(self._step, range(len(actions)), actions))
        return self._reports

    def _step(self, index: int, action: FactoredAction) -> StepReport:
        report = self._reports[index]
        if action.op is Op.FOSSILIZE:
            self._growing[index] = False
        if self._growing[index]:
            self._gains[index] = min(self._gains[index] + 1, 3)
        epoch = report.epoch + 1
        ended = EpisodeEnd.HORIZON if epoch == EPOCHS else None
        return replace(report, epoch=epoch, action=action, action_succeeded=True, ended=ended)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Judges every host on the test split."""
        return tuple(
            EvaluationReport(
                environment=report.environment,
                rng_seed=report.rng_seed,
                test_loss=1.0,
                test_accuracy=50.0 + random.Random(report.rng_seed).gauss(0.0, 5.0) + gain,
                parameters=150,
            )
            for report, gain in zip(self._reports, self._gains, strict=True)
        )

    def close(self) -> None:
        """Releases nothing."""


class FossilizeAt:
    """Fossilizes at an epoch, and waits otherwise."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def reset(self, rng_seed: int) -> None:
        """Starts an episode."""

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action."""
        return FactoredAction(op=Op.FOSSILIZE if report.epoch == self._epoch else Op.WAIT)


if __name__ == "__main__":
    found = compare_controllers(
        ToyEnvironment(environments=4),
        lambda _spec: FossilizeAt(3),
        lambda _spec: FossilizeAt(1),
        rng_seeds=evaluation_seeds(14),
        names=("patient", "hasty"),
    )
    print(f"{found.arm} minus {found.baseline}: {found.difference.value:.1f}, {found.verdict}")
