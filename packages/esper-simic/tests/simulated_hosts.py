"""Hosts on paper: the real lifecycle and the real reward, accuracies by formula.

A seed's worth saturates with the epochs it has trained and its alpha; what several are
worth together has diminishing returns. It runs thousands of epochs a second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from esper_leyline import (
    BlendStyle,
    Blueprint,
    CounterfactualConfig,
    EnvironmentSpec,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    LifecycleRules,
    Op,
    SeedEvent,
    SeedEventKind,
    SeedEvidence,
    SeedReport,
    SeedStage,
    SeedState,
    StepReport,
    Tick,
    Topology,
    advance,
)
from esper_leyline.commands import to_command
from esper_leyline.lifecycle.machine import permitted_ops

SLOTS = ("r0c0", "r0c1", "r0c2")
WORTH = {
    Blueprint.CONV_LIGHT: (40.0, 785),
    Blueprint.CONV_HEAVY: (42.0, 1585),
    Blueprint.DEPTHWISE: (30.0, 337),
    Blueprint.CONV_SMALL: (4.0, 289),
    Blueprint.NORM: (1.0, 33),
}
"""Points of accuracy a seed can add, and its parameters."""

ROOM = 45.0
"""Points that all seeds together can add."""

_HEALTHY = SeedEvidence(
    gradients_finite=True, gradients_exploding=False, healthy=True, contribution=0.0
)


@dataclass
class _Seed:
    state: SeedState = field(default_factory=SeedState)
    trained: int = 0
    contribution: float | None = None


@dataclass
class _Host:
    random: random.Random
    seeds: list[_Seed]
    report: StepReport


@dataclass
class PaperEnvironment:
    environments: int = 6
    length: int = 20
    noise: float = 1.5
    rules: LifecycleRules = field(default_factory=LifecycleRules)
    hosts: list[_Host] = field(default_factory=list)

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(
            environments=self.environments,
            max_epochs=self.length,
            slots=SLOTS,
            topology=Topology.CNN,
            blueprints=tuple(WORTH),
            styles=(BlendStyle.LINEAR_ADD, BlendStyle.SIGMOID_ADD),
            host_parameters=794,
        )

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        return (HostPlacement(device="cpu"),) * len(self.hosts)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        self.hosts = []
        for index, rng_seed in enumerate(rng_seeds):
            grown = [_Seed() for _ in SLOTS]
            report = StepReport(
                environment=index,
                rng_seed=rng_seed,
                epoch=0,
                max_epochs=self.length,
                seeds=self._describe(grown),
                host_parameters=794,
            )
            self.hosts.append(_Host(random.Random(rng_seed), grown, report))
        return tuple(host.report for host in self.hosts)

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        for host, action in zip(self.hosts, actions, strict=True):
            if host.report.ended is None:
                host.report = self._after(host, action)
        return tuple(host.report for host in self.hosts)

    def _after(self, host: _Host, action: FactoredAction) -> StepReport:
        command = to_command(action, SLOTS)
        events: list[SeedEvent] = []
        accepted = True
        if command is not None:
            accepted = _apply(
                host.seeds[action.slot], command.command, command.slot, events, self.rules
            )
        for seed in host.seeds:
            seed.trained += seed.state.stage not in (SeedStage.DORMANT, SeedStage.GERMINATED)
        epoch = host.report.epoch + 1
        base = 40.0 + 10.0 * (1 - math.exp(-epoch / 4))
        main = self._accuracy(host, base, None)
        for index, seed in enumerate(host.seeds):
            seed.contribution = (
                main - self._accuracy(host, base, index) if seed.state.alpha > 0 else None
            )
        for slot, seed in zip(SLOTS, host.seeds, strict=True):
            _apply(seed, Tick(), slot, events, self.rules)
        reports = self._describe(host.seeds)
        fossil = sum(r.parameters for r in reports if r.stage is SeedStage.FOSSILIZED)
        return replace(
            host.report,
            epoch=epoch,
            seeds=reports,
            fossil_parameters=fossil,
            live_parameters=sum(r.parameters for r in reports) - fossil,
            val_loss=4.0 * (1 - main / 100),
            val_accuracy=main,
            history=(*host.report.history, (4.0 * (1 - main / 100), main))[-5:],
            action=action,
            action_succeeded=accepted,
            events=tuple(events),
            counterfactuals=(CounterfactualConfig(active=(), accuracy=base),),
            ended=EpisodeEnd.HORIZON if epoch == self.length else None,
        )

    def _describe(self, seeds: list[_Seed]) -> tuple[SeedReport, ...]:
        return tuple(
            _describe(slot, seed, self.rules) for slot, seed in zip(SLOTS, seeds, strict=True)
        )

    def _accuracy(self, host: _Host, base: float, without: int | None) -> float:
        total = sum(_worth(seed) for i, seed in enumerate(host.seeds) if i != without)
        joint = ROOM * (1 - math.exp(-total / ROOM))
        return min(max(base + joint + host.random.gauss(0, self.noise), 0.0), 100.0)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        return ()

    def close(self) -> None:
        self.hosts = []


def _worth(seed: _Seed) -> float:
    if seed.state.blueprint is None:
        return 0.0
    return WORTH[seed.state.blueprint][0] * seed.state.alpha * (1 - math.exp(-seed.trained / 4))


def _apply(seed: _Seed, what, slot: str, events: list[SeedEvent], rules: LifecycleRules) -> bool:
    before = seed.state
    evidence = replace(_HEALTHY, contribution=seed.contribution)
    moved = advance(before, what, evidence=evidence, rules=rules)
    seed.state = moved.state
    for stage in moved.stages:
        named = {
            SeedStage.GERMINATED: SeedEventKind.GERMINATED,
            SeedStage.FOSSILIZED: SeedEventKind.FOSSILIZED,
            SeedStage.PRUNED: SeedEventKind.PRUNED,
        }
        events.append(
            SeedEvent(
                kind=named.get(stage, SeedEventKind.STAGE_CHANGED),
                slot=slot,
                source=before.stage,
                target=stage,
                blueprint=before.blueprint or moved.state.blueprint,
            )
        )
        if stage in (SeedStage.GERMINATED, SeedStage.PRUNED):
            seed.trained, seed.contribution = 0, None
    return moved.accepted


def _describe(slot: str, seed: _Seed, rules: LifecycleRules) -> SeedReport:
    state = seed.state
    evidence = replace(_HEALTHY, contribution=seed.contribution)
    permitted = permitted_ops(state, evidence, rules)
    return SeedReport(
        slot=slot,
        stage=state.stage,
        permitted=tuple(op for op in Op if op in permitted),
        blueprint=state.blueprint,
        style=state.style,
        tempo=state.tempo,
        alpha=state.alpha,
        alpha_target=None if state.ramp is None else state.ramp.target,
        alpha_mode=state.alpha_mode,
        pruning=state.pruning,
        epochs_in_stage=state.epochs_in_stage,
        age=state.age,
        parameters=0 if state.blueprint is None else WORTH[state.blueprint][1],
        contribution=seed.contribution,
        counterfactual_age=None if seed.contribution is None else 0,
    )
