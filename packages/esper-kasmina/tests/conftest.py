from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_kasmina import (
    BLUEPRINTS,
    ActivationSpec,
    SeedSlot,
    SequentialHost,
    build_host,
    unregister_blueprint,
)
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    Fossilize,
    Germinate,
    HostOptions,
    HostSpec,
    LifecycleRules,
    MLPHostSpec,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
    Topology,
    TransformerHostSpec,
)
from esper_leyline.commands import SlotCommand

SIGNAL = CNNHostSpec(
    input_shape=(1, 24), classes=5, widths=(8, 8, 8), kernel=1, pools=(True, True, False)
)
IMAGE = CNNHostSpec(input_shape=(3, 12, 12), classes=4, widths=(8, 8), pools=(True, False))
VECTOR = MLPHostSpec(input_shape=(3, 5), classes=4, widths=(8, 12, 8))
TEXT = TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=2, block=9, layers_per_slot=1)
FAMILIES = {"signal": SIGNAL, "image": IMAGE, "vector": VECTOR, "text": TEXT}
STYLES = (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE)
"""One style for each algorithm."""

USUAL = {
    Topology.CNN: Blueprint.CONV_LIGHT,
    Topology.TRANSFORMER: Blueprint.ATTENTION,
    Topology.MLP: Blueprint.MLP_SMALL,
}
"""The blueprint that is used if a test names none."""


@pytest.fixture(autouse=True)
def _built_in_blueprints_only():
    """Removes the blueprints that a test has registered."""
    yield
    names = {name for specs in BLUEPRINTS.values() for name in specs}
    for name in names - set(Blueprint):
        unregister_blueprint(name)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[SIGNAL, IMAGE], ids=["signal", "image"])
def spec(request) -> CNNHostSpec:
    return request.param


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES)
def family(request) -> HostSpec:
    """A small host of each family; signals and images are two."""
    return request.param


@pytest.fixture
def specs() -> dict[str, HostSpec]:
    """The same hosts by name."""
    return FAMILIES


@pytest.fixture(params=STYLES, ids=lambda style: style.algorithm.value)
def style(request) -> BlendStyle:
    """A blend style of each algorithm."""
    return request.param


@pytest.fixture(
    params=[
        (spec, blueprint) for spec in FAMILIES.values() for blueprint in BLUEPRINTS[spec.topology]
    ],
    ids=[
        f"{name}-{blueprint}"
        for name, spec in FAMILIES.items()
        for blueprint in BLUEPRINTS[spec.topology]
    ],
)
def spec_and_blueprint(request) -> tuple[HostSpec, Blueprint]:
    """A small host and a blueprint that fits it, in every combination."""
    return request.param


@pytest.fixture
def make_host() -> Callable[..., SequentialHost]:
    def make(
        spec: HostSpec = SIGNAL,
        *,
        slots: tuple[str, ...] | None = None,
        max_seeds: int | None = None,
        seed: int = 1,
        **rules: object,
    ) -> SequentialHost:
        return build_host(
            spec,
            HostOptions(
                slots=slots or spec.slots,
                rules=LifecycleRules(**rules),
                max_seeds=max_seeds,
                rng_seed=seed,
            ),
        )

    return make


@pytest.fixture
def batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Makes inputs [size, ...] and labels, one a sample or one a token."""

    def make(spec: HostSpec = SIGNAL, size: int = 32) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        if spec.topology is Topology.TRANSFORMER:
            text = torch.randint(spec.vocabulary, (size, spec.block + 1), generator=generator)
            return text[:, :-1], text[:, 1:]
        inputs = torch.randn(size, *spec.input_shape, generator=generator)
        return inputs, torch.randint(spec.classes, (size,), generator=generator)

    return make


@pytest.fixture
def objective() -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of any host: logits [B, ..., C] against labels [B, ...]."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits.flatten(0, -2), labels.flatten())

    return loss


@pytest.fixture
def order() -> Callable[..., None]:
    """Gives a host a command that has to be accepted."""

    def give(host: SequentialHost, slot: str, command: SlotCommand) -> None:
        result = host.apply_command(SeedCommand(slot=slot, command=command))
        assert result.accepted, result.reason

    return give


@pytest.fixture
def train(batch, objective) -> Callable[..., None]:
    """Trains a host for one epoch of one batch, without an optimiser, and ends the epoch."""

    def one_epoch(
        host: SequentialHost,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        contribution: float | None = 1.0,
    ) -> None:
        inputs, labels = batch(host.spec)
        host.train()
        host.zero_grad()
        objective(host(inputs), labels).backward()
        if optimizer is not None:
            optimizer.step()
        host.record_gradients()
        occupied = [r.slot for r in host.seed_reports() if r.occupied]
        measured = [] if contribution is None else occupied
        host.record_validation(
            50.0, [SeedMeasurement(slot=s, contribution=contribution) for s in measured]
        )
        host.tick()

    return one_epoch


@pytest.fixture
def grow(order, train) -> Callable[..., None]:
    """Brings a dormant slot's seed to a stage by commands and epochs."""

    def to_stage(
        host: SequentialHost,
        slot: str,
        stage: SeedStage,
        blueprint: Blueprint | None = None,
        *,
        nonzero_scale: bool = True,
        **germinate: object,
    ) -> None:
        grown = blueprint or USUAL[host.spec.topology]
        order(host, slot, Germinate(blueprint=grown, **germinate))
        if nonzero_scale:
            torch.nn.init.constant_(host.slot(slot).seed.scale, 0.5)
        if stage is SeedStage.GERMINATED:
            return
        order(host, slot, Advance())
        if stage is SeedStage.TRAINING:
            return
        train(host)
        order(host, slot, Advance())
        if stage is SeedStage.BLENDING:
            return
        while host.slot(slot).alpha < 1.0:
            host.tick()
        order(host, slot, Advance())
        if stage is SeedStage.HOLDING:
            return
        train(host)
        order(host, slot, Fossilize())

    return to_stage


@pytest.fixture
def slot() -> SeedSlot:
    return SeedSlot("r0c0", ActivationSpec.maps(8, dimensions=1))
