"""Seeds of every blueprint start as the identity with every blend algorithm, and learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from esper_kasmina import BLUEPRINTS, ActivationSpec, Seed
from esper_leyline import BlendAlgorithm, Blueprint, Topology
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS


@dataclass(frozen=True)
class Kind:
    """Activations of one kind at any width, and an example of them."""

    describe: Callable[[int], ActivationSpec]
    shape: Callable[[int], tuple[int, ...]]
    mixed_axis: int
    """The axis along which the tests below move activations."""

    def example(self, width: int, *, seed: int = 0) -> torch.Tensor:
        """Maps come out of a ReLU; tokens and vectors have both signs."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(self.shape(width), generator=generator)
        return drawn.relu() if self.describe(width).topology is Topology.CNN else drawn


KINDS = {
    "signals": Kind(partial(ActivationSpec.maps, dimensions=1), lambda c: (8, c, 5), 2),
    "images": Kind(partial(ActivationSpec.maps, dimensions=2), lambda c: (8, c, 5, 5), 2),
    "videos": Kind(partial(ActivationSpec.maps, dimensions=3), lambda c: (8, c, 2, 3, 5), 4),
    "images_last": Kind(
        partial(ActivationSpec.maps, layout="channels_last"), lambda c: (8, 5, 5, c), 2
    ),
    "videos_last": Kind(
        partial(ActivationSpec.maps, dimensions=3, layout="channels_last"),
        lambda c: (8, 2, 3, 5, c),
        3,
    ),
    "tokens": Kind(ActivationSpec.tokens, lambda d: (8, 5, d), 1),
    "causal": Kind(partial(ActivationSpec.tokens, causal=True), lambda d: (8, 5, d), 1),
    "batch_second": Kind(partial(ActivationSpec.tokens, batch_first=False), lambda d: (5, 8, d), 0),
    "vectors": Kind(ActivationSpec.features, lambda d: (40, d), 1),
}
FAMILY = [
    pytest.param(kind, blueprint, id=f"{name}-{blueprint}")
    for name, kind in KINDS.items()
    for blueprint in sorted(BLUEPRINTS[kind.describe(1).topology])
]
ADDITIVE = [BlendAlgorithm.ADD, BlendAlgorithm.GATE]

across_kinds = pytest.mark.parametrize(("kind", "blueprint"), FAMILY)
across_algorithms = pytest.mark.parametrize("algorithm", list(BlendAlgorithm))
across_widths = pytest.mark.parametrize("width", [8, 16], ids=lambda width: f"w{width}")


def family(test):
    """Runs a test for every blueprint, algorithm, width and kind of activations that fit."""
    return across_kinds(across_algorithms(across_widths(test)))


@pytest.fixture
def seed(kind, blueprint, algorithm, width):
    torch.manual_seed(0)
    return Seed(blueprint, kind.describe(width), algorithm)


@pytest.fixture
def hidden(kind, width):
    return kind.example(width)


def gradient_norm(seed):
    return torch.stack([p.grad.norm() for p in seed.parameters()]).norm()


@pytest.mark.parametrize("topology", list(Topology))
def test_each_topology_has_its_built_in_blueprints(topology):
    assert set(BLUEPRINTS[topology]) == set(TOPOLOGY_BLUEPRINTS[topology])


@family
def test_a_new_seed_is_the_identity(seed, hidden):
    for mode in (True, False):
        assert torch.equal(seed.train(mode)(hidden), hidden)


@family
def test_the_first_gradient_neither_vanishes_nor_explodes(seed, hidden, kind):
    loss = (seed(hidden) - (hidden + 0.5 * hidden.flip(kind.mixed_axis))).square().mean()
    loss.backward()
    assert 1e-4 < gradient_norm(seed) < 10
    assert seed.scale.grad.abs() > 1e-4


@family
def test_seeds_train_on_constant_signals(seed, hidden):
    """A near-constant signal does not blow gradients up, nor does silence."""
    torch.nn.init.ones_(seed.scale)
    seed(1.0 + 1e-4 * hidden).square().mean().backward()
    assert gradient_norm(seed) < 20
    seed.zero_grad()
    seed(torch.zeros_like(hidden)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in seed.parameters())


def assert_every_tensor_learns(seed, hidden):
    for _ in range(2):
        seed.zero_grad()
        (seed(hidden) - 0.5 * hidden).square().mean().backward()
        with torch.no_grad():
            for parameter in seed.parameters():
                parameter.sub_(parameter.grad)
    for name, parameter in seed.named_parameters():
        assert parameter.grad.norm() > 1e-7, name


@family
def test_every_parameter_gets_a_gradient_when_the_scale_is_not_zero(seed, hidden):
    assert_every_tensor_learns(seed, hidden)


def steps_to_halve(seed, hidden, target) -> int:
    """Trains until the loss has halved; 100 steps at most."""
    optimizer = torch.optim.Adam(seed.parameters(), lr=0.03)
    first = None
    for step in range(100):
        optimizer.zero_grad()
        loss = (seed(hidden) - target).square().mean()
        first = first or loss.item()
        if loss < first / 2:
            return step
        loss.backward()
        optimizer.step()
    return 100


@family
def test_each_blueprint_halves_a_regression_loss(seed, hidden, blueprint):
    """The target is what another seed of the same blueprint makes of the input."""
    teacher = Seed(blueprint, seed.activations, seed.algorithm)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
        teacher.scale.fill_(1.0)
        target = teacher(hidden)
    assert steps_to_halve(seed, hidden, target) < 100


@pytest.mark.parametrize("share", [0.5, 1.5])
@pytest.mark.parametrize("algorithm", ADDITIVE)
@across_widths
@across_kinds
def test_a_seed_can_increase_and_decrease_activations(seed, kind, width, share):
    """Corrections of either sign are learnt, also where activations are signed.

    The activations span two directions only, which is as many as a bottleneck passes.
    """
    generator = torch.Generator().manual_seed(2)
    mixture = torch.randn(width, 2, generator=generator)
    axis = kind.describe(width).channel_axis
    narrow = kind.example(2) - 0.4 * (kind.describe(width).topology is Topology.CNN)
    hidden = (narrow.movedim(axis, -1) @ mixture.T).movedim(-1, axis)
    assert steps_to_halve(seed, hidden, share * hidden) < 100


def map_counts(channels: int, area: int) -> dict[Blueprint, int]:
    inner = channels // 4
    return {
        Blueprint.NORM: 2 * channels,
        Blueprint.ATTENTION: channels**2 // 2 + channels,
        Blueprint.CONV_SMALL: channels**2 + 2 * channels,
        Blueprint.DEPTHWISE: area * channels + channels**2 + 2 * channels,
        Blueprint.BOTTLENECK: 2 * channels * inner + area * inner**2 + 2 * channels,
        Blueprint.CONV_LIGHT: area * channels**2 + 2 * channels,
        Blueprint.CONV_HEAVY: 2 * (area * channels**2 + 2 * channels),
    }


def token_counts(width: int) -> dict[Blueprint, int]:
    return {
        Blueprint.NORM: 2 * width,
        Blueprint.LORA: 16 * width,
        Blueprint.LORA_LARGE: 64 * width,
        Blueprint.ATTENTION: 4 * width**2 + 4 * width,
        Blueprint.FLEX_ATTENTION: 4 * width**2 + 4 * width,
        Blueprint.MLP_SMALL: 4 * width**2 + 3 * width,
        Blueprint.MLP: 8 * width**2 + 5 * width,
    }


@pytest.mark.parametrize("width", [8, 16, 32])
@across_kinds
def test_parameter_counts(kind, blueprint, width):
    """What the blueprint takes, one scale, and a number a channel and one more for a gate."""
    activations = kind.describe(width)
    if activations.topology is Topology.CNN:
        expected = map_counts(width, 3**activations.dimensions)[blueprint]
    else:
        expected = token_counts(width)[blueprint]
    sizes = [Seed(blueprint, activations, algorithm).size for algorithm in BlendAlgorithm]
    assert sizes == [expected + 1, expected + 1, expected + 1 + width + 1]


@pytest.mark.parametrize(
    ("blueprint", "count"),
    [
        (Blueprint.NORM, 769),
        (Blueprint.LORA, 6_144 + 1),
        (Blueprint.LORA_LARGE, 24_576 + 1),
        (Blueprint.ATTENTION, 591_360 + 1),
        (Blueprint.FLEX_ATTENTION, 591_360 + 1),
        (Blueprint.MLP_SMALL, 590_976 + 1),
        (Blueprint.MLP, 1_181_568 + 1),
    ],
)
def test_parameter_counts_in_the_tinystories_host(blueprint, count):
    assert Seed(blueprint, ActivationSpec.tokens(384, causal=True)).size == count


@pytest.mark.parametrize("width", [2, 3, 5], ids=lambda width: f"w{width}")
@across_algorithms
@across_kinds
def test_blueprints_fit_hosts_with_few_channels(seed, hidden):
    """They start as the identity there as well, and every tensor of them learns."""
    assert torch.equal(seed(hidden), hidden)
    assert_every_tensor_learns(seed, hidden)
