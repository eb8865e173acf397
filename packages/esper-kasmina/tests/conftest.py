from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from esper_kasmina import BLUEPRINTS, Activations, CNNHost, SeedSlot, build_host
from esper_leyline import (
    Advance,
    Blueprint,
    CNNHostSpec,
    Fossilize,
    Germinate,
    LifecycleRules,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
    SlotCommand,
    Topology,
)

SIGNAL = CNNHostSpec(
    input_shape=(1, 24), classes=5, widths=(8, 8, 8), kernel=1, pools=(True, True, False)
)
IMAGE = CNNHostSpec(input_shape=(3, 12, 12), classes=4, widths=(8, 8), pools=(True, False))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(
    params=sorted(BLUEPRINTS[Topology.CNN]), ids=lambda blueprint: blueprint.name.lower()
)
def blueprint(request) -> Blueprint:
    return request.param


@pytest.fixture(params=[1, 2], ids=lambda dimensions: f"{dimensions}d")
def dimensions(request) -> int:
    return request.param


@pytest.fixture(params=[8, 16], ids=lambda width: f"w{width}")
def width(request) -> int:
    return request.param


@pytest.fixture
def activations() -> Callable[..., torch.Tensor]:
    """Activations as a slot sees them: after a ReLU, [8, width, 5(, 5)]."""

    def make(width: int, dimensions: int, *, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(8, width, *(5,) * dimensions, generator=generator).relu()

    return make


@pytest.fixture
def make_host() -> Callable[..., CNNHost]:
    def make(
        spec: CNNHostSpec = SIGNAL,
        *,
        slots: tuple[str, ...] | None = None,
        max_seeds: int | None = None,
        seed: int = 1,
        **rules: object,
    ) -> CNNHost:
        return build_host(
            spec,
            slots=slots or spec.slots,
            rules=LifecycleRules(**rules),
            max_seeds=max_seeds,
            seed=seed,
        )

    return make


@pytest.fixture
def batch() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    def make(spec: CNNHostSpec = SIGNAL, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(7)
        inputs = torch.randn(size, *spec.input_shape, generator=generator)
        return inputs, torch.randint(spec.classes, (size,), generator=generator)

    return make


@pytest.fixture
def order() -> Callable[..., None]:
    """Gives a host a command that has to be accepted."""

    def give(host: CNNHost, slot: str, command: SlotCommand) -> None:
        result = host.apply_command(SeedCommand(slot=slot, command=command))
        assert result.accepted, result.reason

    return give


@pytest.fixture
def train(batch) -> Callable[..., None]:
    """Trains a host for one epoch of one batch, without an optimiser, and ends the epoch."""

    def one_epoch(
        host: CNNHost,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        contribution: float | None = 1.0,
    ) -> None:
        inputs, labels = batch(host.spec)
        host.train()
        host.zero_grad()
        torch.nn.functional.cross_entropy(host(inputs), labels).backward()
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
        host: CNNHost,
        slot: str,
        stage: SeedStage,
        blueprint: Blueprint = Blueprint.CONV_LIGHT,
        *,
        lively: bool = True,
        **germinate: object,
    ) -> None:
        order(host, slot, Germinate(blueprint=blueprint, **germinate))
        if lively:
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
            train(host)
        order(host, slot, Advance())
        if stage is SeedStage.HOLDING:
            return
        train(host)
        order(host, slot, Fossilize())

    return to_stage


@pytest.fixture(params=[SIGNAL, IMAGE], ids=["signal", "image"])
def spec(request) -> CNNHostSpec:
    return request.param


@pytest.fixture
def slot() -> SeedSlot:
    return SeedSlot("r0c0", Activations.maps(8, dimensions=1))
