"""Short episodes on the real task with Kasmina's real hosts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import (
    AlphaCurve,
    Blueprint,
    Environment,
    FactoredAction,
    LifecycleRules,
    Op,
    StepReport,
    TaskSpec,
    TrainingConfig,
    mnist1d,
    override,
)
from esper_tolaria import LocalEnvironment, Setup, get_task, load_dataset, make_setup

Script = Sequence[FactoredAction]

GROWTH = (
    FactoredAction(),
    FactoredAction(op=Op.GERMINATE, slot=0, blueprint=Blueprint.CONV_LIGHT, alpha_target=2),
    FactoredAction(op=Op.GERMINATE, slot=2, blueprint=Blueprint.DEPTHWISE, alpha_target=1),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.ADVANCE, slot=2),
    FactoredAction(op=Op.ADVANCE, slot=2),
    FactoredAction(),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.FOSSILIZE, slot=0),
    FactoredAction(op=Op.PRUNE, slot=2, alpha_speed=0),
)
"""A life of two seeds: both blended in, one fossilized, one pruned."""


@pytest.fixture(scope="session")
def task() -> TaskSpec:
    """MNIST-1D with few rows, which are quick to make and to judge."""
    full = get_task("mnist1d")
    rows = {"train_size": 500, "validation_size": 200, "test_size": 200}
    return full.model_copy(update={"data": full.data.model_copy(update=rows)})


@pytest.fixture(scope="session")
def make_config(task) -> Callable[..., TrainingConfig]:
    """Configurations of four short-lived hosts with epochs of three batches."""
    manual = LifecycleRules().model_dump()
    brief = task.training.model_copy(update={"max_batches": 3}).model_dump()

    def make(**changes: object) -> TrainingConfig:
        # Gates stay shut until a script opens them.
        fixed = {"n_envs": 4, "max_epochs": 12, "host": brief, "lifecycle": manual}
        return override(mnist1d(), fixed | changes)

    return make


@pytest.fixture(scope="session")
def make_setup_for(task, make_config) -> Callable[..., Setup]:
    """Setups with Kasmina's hosts; arguments change the configuration."""

    def make(**changes: object) -> Setup:
        return make_setup(task, make_config(**changes), build_host)

    return make


@pytest.fixture
def make_local(make_setup_for) -> Callable[..., LocalEnvironment]:
    """Local environments on the CPU; arguments change the configuration."""

    def make(**changes: object) -> LocalEnvironment:
        setup = make_setup_for(**changes)
        return LocalEnvironment(setup, load_dataset(setup.task.data), torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def growth() -> Script:
    return GROWTH


@pytest.fixture(scope="session")
def random_script() -> Callable[[int, int], Script]:
    """Reproducible scripts of any actions, accepted or not."""

    def make(seed: int, length: int) -> Script:
        dice = random.Random(seed)
        blueprints = get_task("mnist1d").blueprints
        return [
            FactoredAction(
                op=dice.choice(list(Op)),
                slot=dice.randrange(3),
                blueprint=dice.choice(blueprints),
                tempo=dice.randrange(3),
                alpha_target=dice.randrange(3),
                alpha_speed=dice.randrange(4),
                alpha_curve=dice.choice(list(AlphaCurve)),
            )
            for _ in range(length)
        ]

    return make


@pytest.fixture(scope="session")
def play() -> Callable[..., list[tuple[StepReport, ...]]]:
    """Runs one script a host and returns every step's reports, without wall times."""

    def run(
        environment: Environment, seeds: Sequence[int], scripts: Sequence[Script]
    ) -> list[tuple[StepReport, ...]]:
        steps = [environment.reset(seeds)]
        steps += [environment.step(actions) for actions in zip(*scripts, strict=True)]
        return [tuple(replace(report, seconds={}) for report in step) for step in steps]

    return run
