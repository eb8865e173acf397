"""Reports to decide about: written by hand, or lived by slots under the real lifecycle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch

from esper_leyline import (
    ACTIVE_STAGES,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    FactoredAction,
    LifecycleRules,
    Op,
    PolicyConfig,
    SeedEvidence,
    SeedReport,
    SeedStage,
    SeedState,
    StepReport,
    Tick,
    Topology,
    advance,
)
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS
from esper_leyline.commands import to_command
from esper_leyline.lifecycle.machine import Transition, permitted_ops
from esper_tamiyo import RecurrentPolicy

Contribution = Callable[[str, Blueprint], float]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make_spec(
    slots: int = 3,
    *,
    max_epochs: int = 20,
    environments: int = 4,
    topology: Topology = Topology.CNN,
    blueprints: tuple[Blueprint, ...] | None = None,
    styles: tuple[BlendStyle, ...] = (BlendStyle.LINEAR_ADD, BlendStyle.SIGMOID_ADD),
) -> EnvironmentSpec:
    return EnvironmentSpec(
        environments=environments,
        max_epochs=max_epochs,
        slots=tuple(f"r0c{column}" for column in range(slots)),
        topology=topology,
        blueprints=blueprints or TOPOLOGY_BLUEPRINTS[topology],
        styles=styles,
        host_parameters=900,
    )


def make_policy(spec: EnvironmentSpec, size: int = 32, critic: str = "q") -> RecurrentPolicy:
    config = PolicyConfig(feature_size=size, memory_size=size)
    return RecurrentPolicy(spec, config, critic)


@dataclass
class Garden:
    """One environment's slots, lived by Leyline's lifecycle alone; nothing is trained."""

    spec: EnvironmentSpec
    rules: LifecycleRules = field(default_factory=LifecycleRules)
    contribution: Contribution = lambda slot, blueprint: 1.0
    accuracy: Callable[[int], float] = lambda epoch: 50.0
    loss: Callable[[int], float] = lambda epoch: 1.5
    environment: int = 0

    def __post_init__(self) -> None:
        self.epoch = 0
        self.states = [SeedState() for _ in self.spec.slots]
        self.ages: list[int | None] = [None for _ in self.spec.slots]
        self.history: tuple[tuple[float, float], ...] = ()
        self.transitions: list[Transition] = []
        self.last: tuple[FactoredAction, bool] | None = None

    def evidence(self, index: int) -> SeedEvidence:
        state, age = self.states[index], self.ages[index]
        trained = state.stage in ACTIVE_STAGES and state.epochs_in_stage > 0
        measured = trained and age is not None and age < state.epochs_in_stage
        return SeedEvidence(
            gradients_finite=True if trained else None,
            gradients_exploding=False if trained else None,
            gradient_ratio=0.5 if trained else None,
            stage_improvement=1.0 if trained else None,
            contribution=self._contribution(index) if measured else None,
            healthy=True if trained else None,
        )

    def step(self, action: FactoredAction) -> StepReport:
        accepted = True
        command = to_command(action, self.spec.slots)
        if command is not None:
            transition = self._apply(action.slot, command.command)
            accepted = transition.accepted
        for index, state in enumerate(self.states):
            self.ages[index] = 0 if state.stage in ACTIVE_STAGES else None
        self.epoch += 1
        self.history = (*self.history, (self.loss(self.epoch), self.accuracy(self.epoch)))[-5:]
        for index in range(len(self.states)):
            self._apply(index, Tick())
        self.last = (action, accepted)
        return self.report()

    def report(self) -> StepReport:
        action, accepted = self.last or (None, None)
        ended = self.epoch >= self.spec.max_epochs
        return StepReport(
            environment=self.environment,
            rng_seed=0,
            epoch=self.epoch,
            max_epochs=self.spec.max_epochs,
            seeds=tuple(self._seed(index) for index in range(len(self.states))),
            host_parameters=900,
            val_loss=self.history[-1][0] if self.history else None,
            val_accuracy=self.history[-1][1] if self.history else None,
            history=self.history,
            action=action,
            action_succeeded=accepted,
            ended=EpisodeEnd.HORIZON if ended else None,
        )

    def _apply(self, index: int, event) -> Transition:
        transition = advance(
            self.states[index], event, evidence=self.evidence(index), rules=self.rules
        )
        if not isinstance(event, Tick):
            self.transitions.append(transition)
        self.states[index] = transition.state
        return transition

    def _contribution(self, index: int) -> float | None:
        blueprint = self.states[index].blueprint
        return None if blueprint is None else self.contribution(self.spec.slots[index], blueprint)

    def _seed(self, index: int) -> SeedReport:
        state = self.states[index]
        ramp = state.ramp
        evidence = self.evidence(index)
        active = state.stage in ACTIVE_STAGES
        return SeedReport(
            slot=self.spec.slots[index],
            stage=state.stage,
            permitted=tuple(sorted(permitted_ops(state, evidence, self.rules))),
            blueprint=state.blueprint,
            style=state.style,
            tempo=state.tempo,
            alpha=state.alpha,
            alpha_target=None if ramp is None else ramp.target,
            alpha_mode=state.alpha_mode,
            ramp_steps=0 if ramp is None else ramp.steps,
            ramp_done=0 if ramp is None else ramp.done,
            pruning=state.pruning,
            epochs_in_stage=state.epochs_in_stage,
            age=state.age,
            contribution=self._contribution(index) if active else None,
            counterfactual_age=self.ages[index] if active else None,
            stage_improvement=evidence.stage_improvement,
            gradient_norm=1.0 if active else None,
            gradient_health=1.0 if active else None,
        )


def rich_report(spec: EnvironmentSpec, environment: int = 0) -> StepReport:
    """A report in which everything is measured, a little different in each environment."""
    seeds = tuple(
        SeedReport(
            slot=slot,
            stage=SeedStage.TRAINING,
            permitted=(Op.PRUNE, Op.ADVANCE),
            blueprint=Blueprint.NORM,
            style=BlendStyle.LINEAR_ADD,
            tempo=3,
            alpha=0.25,
            alpha_target=0.5,
            alpha_velocity=0.1,
            ramp_steps=5,
            ramp_done=2,
            epochs_in_stage=2,
            age=4,
            contribution=1.0 + environment,
            contribution_velocity=0.5,
            counterfactual_age=1,
            interaction_sum=0.5,
            gradient_norm=1.0,
            gradient_health=0.75,
            gradient_vanishing=False,
            gradient_exploding=False,
            previous_gradient_health=0.5,
        )
        for slot in spec.slots
    )
    return StepReport(
        environment=environment,
        rng_seed=environment,
        epoch=6 + environment,
        max_epochs=spec.max_epochs,
        seeds=seeds,
        host_parameters=900,
        train_loss=1.1,
        train_accuracy=52.0,
        val_loss=1.2,
        val_accuracy=45.0 + environment,
        history=((2.0, 10.0), (1.8, 20.0), (1.6, 30.0), (1.4, 40.0), (1.2, 45.0)),
        action=FactoredAction(),
        action_succeeded=True,
    )


def with_seed(report: StepReport, slot: int, **changes) -> StepReport:
    seeds = list(report.seeds)
    seeds[slot] = replace(seeds[slot], **changes)
    return replace(report, seeds=tuple(seeds))


def roll(
    policy: RecurrentPolicy, gardens: Sequence[Garden], steps: int, generator: torch.Generator
):
    """Lets a policy act in gardens; yields (observation, state before, decision) a step."""
    state = policy.initial_state(len(gardens))
    reports = [garden.report() for garden in gardens]
    for _ in range(steps):
        observation = policy.encode(reports)
        decision = policy.act(observation, state, generator=generator)
        yield observation, state, decision
        state = decision.state
        reports = [
            garden.step(FactoredAction.from_indices(row))
            for garden, row in zip(gardens, decision.actions.tolist(), strict=True)
        ]


@pytest.fixture
def specs():
    return make_spec


@pytest.fixture
def policies():
    return make_policy


@pytest.fixture
def gardens():
    return Garden


@pytest.fixture
def rich():
    return rich_report


@pytest.fixture
def seeded():
    return with_seed


@pytest.fixture
def rolled():
    return roll
