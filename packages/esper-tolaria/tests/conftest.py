"""Short episodes on the real task with Kasmina's real hosts."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import (
    AlphaCurve,
    Blueprint,
    CNNHostSpec,
    Environment,
    FactoredAction,
    HostSpec,
    LifecycleRules,
    MLPHostSpec,
    Op,
    StepReport,
    TaskSpec,
    TrainingConfig,
    TransformerHostSpec,
    override,
)
from esper_tolaria import (
    HostSetup,
    LocalEnvironment,
    find_preset,
    find_task,
    load_dataset,
    make_setup,
)
from esper_tolaria.datasets.digits import read_digits
from esper_tolaria.datasets.fashion_mnist import PARTS, SYSTEM_FOLDER
from esper_tolaria.datasets.idx import read_idx
from esper_tolaria.datasets.images import Images

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


FAMILIES = {
    "cnn": CNNHostSpec(input_shape=(3, 12, 12), classes=4, widths=(8, 8), pools=(True, True)),
    "mlp": MLPHostSpec(input_shape=(3, 5), classes=4, widths=(8, 8)),
    "gpt": TransformerHostSpec(
        vocabulary=11, width=8, heads=2, layers=2, block=9, layers_per_slot=1
    ),
}
"""A small host of each topology."""


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES)
def family(request) -> HostSpec:
    return request.param


@pytest.fixture(scope="session")
def task() -> TaskSpec:
    """MNIST-1D with few rows, which are quick to make and to judge."""
    full = find_task("mnist1d_blind").spec
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
        return override(find_preset("mnist1d_blind"), fixed | changes)

    return make


@pytest.fixture(scope="session")
def make_setup_for(task, make_config) -> Callable[..., HostSetup]:
    """Setups with Kasmina's hosts; arguments change the configuration."""

    def make(**changes: object) -> HostSetup:
        return make_setup(task, make_config(**changes), build_host)

    return make


@pytest.fixture
def make_local(make_setup_for) -> Callable[..., LocalEnvironment]:
    """Local environments on the CPU; arguments change the configuration."""

    def make(**changes: object) -> LocalEnvironment:
        setup = make_setup_for(**changes)
        return LocalEnvironment(setup, load_dataset(setup.task), torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def few_rows() -> Callable[..., TaskSpec]:
    """Any task with fewer rows; arguments change how its hosts train."""

    def make(name: str, rows: int, **training: object) -> TaskSpec:
        task = find_task(name).spec
        sizes = dict.fromkeys(("train_size", "validation_size", "test_size"), rows)
        data = task.data.model_copy(update=sizes)
        trained = task.training.model_copy(update=training)
        return task.model_copy(update={"data": data, "training": trained})

    return make


@pytest.fixture
def grown_in() -> Callable[..., LocalEnvironment]:
    """Local environments of any task whose data needs no download."""

    def make(task: TaskSpec, **changes: object) -> LocalEnvironment:
        config = override(TrainingConfig(task=task.name, n_envs=1, max_epochs=12), changes)
        return LocalEnvironment(
            make_setup(task, config, build_host), load_dataset(task), torch.device("cpu")
        )

    return make


@pytest.fixture(scope="session")
def images() -> Images:
    """Real images, 28 x 28 grey pixels, 2,400 or more: clothes if installed, else digits."""
    if SYSTEM_FOLDER.is_dir():
        images, labels = (
            np.concatenate([read_idx(SYSTEM_FOLDER / f"{part}-{kind}.gz")[:2000] for part in PARTS])
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        return Images(pixels=images, labels=labels)
    digits = read_digits()
    large = np.kron(digits.pixels[:, 0], np.ones((3, 3), dtype=np.uint8)) * 15
    padded = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    return Images(pixels=np.tile(padded, (2, 1, 1)), labels=np.tile(digits.labels, 2))


@pytest.fixture(scope="session")
def nowhere() -> Path:
    """A folder that does not exist, for data that lies in none."""
    return Path("there-is-no-such-folder")


@pytest.fixture(scope="session")
def growth() -> Script:
    return GROWTH


@pytest.fixture(scope="session")
def random_script() -> Callable[[int, int], Script]:
    """Reproducible scripts of any actions, accepted or not."""

    def make(seed: int, length: int) -> Script:
        dice = random.Random(seed)
        blueprints = find_task("mnist1d_blind").spec.blueprints
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


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_not_ignored():
    """A shell ignores them in its background, for all child processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
