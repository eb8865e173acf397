"""Every blueprint is the identity at birth, and alive (traps 1, 2, 4)."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import BLUEPRINTS, Activations, Seed
from esper_leyline import TOPOLOGY_BLUEPRINTS, Blueprint, Topology


@pytest.fixture
def seed(blueprint, width, dimensions):
    torch.manual_seed(0)
    return Seed(blueprint, Activations.maps(width, dimensions=dimensions))


def test_the_registry_is_the_cnn_topology():
    assert set(BLUEPRINTS[Topology.CNN]) == set(TOPOLOGY_BLUEPRINTS[Topology.CNN])


def test_identity_at_birth(seed, width, dimensions, activations):
    hidden = activations(width, dimensions)
    for mode in (True, False):
        assert torch.equal(seed.train(mode)(hidden), hidden)


def test_first_gradient_is_of_ordinary_size(seed, width, dimensions, activations):
    hidden = activations(width, dimensions)
    loss = (seed(hidden) - (hidden + 0.5 * hidden.flip(2))).square().mean()
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in seed.parameters()]).norm()
    assert 1e-4 < norm < 10


def test_a_near_constant_signal_does_not_blow_gradients_up(seed, width, dimensions, activations):
    hidden = 1.0 + 1e-4 * activations(width, dimensions)
    torch.nn.init.ones_(seed.scale)
    seed(hidden).square().mean().backward()
    norm = torch.stack([p.grad.norm() for p in seed.parameters()]).norm()
    assert norm < 20


def test_a_zero_signal_is_survived(seed, width, dimensions, activations):
    torch.nn.init.ones_(seed.scale)
    seed(torch.zeros_like(activations(width, dimensions))).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in seed.parameters())


def test_every_tensor_learns_once_the_scale_has_moved(seed, width, dimensions, activations):
    hidden = activations(width, dimensions)
    optimizer = torch.optim.SGD(seed.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        (seed(hidden) - 0.5 * hidden).square().mean().backward()
        optimizer.step()
    for name, parameter in seed.named_parameters():
        assert parameter.grad.norm() > 1e-7, name


def steps_to_halve(seed, hidden, target) -> int:
    """Trains until the loss has halved; 300 steps at most."""
    optimizer = torch.optim.Adam(seed.parameters(), lr=0.01)
    first = None
    for step in range(300):
        optimizer.zero_grad()
        loss = (seed(hidden) - target).square().mean()
        first = first or loss.item()
        if loss < first / 2:
            return step
        loss.backward()
        optimizer.step()
    return 300


def test_halves_a_regression_loss(seed, blueprint, width, dimensions, activations):
    """The target is what another seed of the same blueprint makes of the input."""
    hidden = activations(width, dimensions)
    teacher = Seed(blueprint, Activations.maps(width, dimensions=dimensions))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
        teacher.scale.fill_(1.0)
        target = teacher(hidden)
    assert steps_to_halve(seed, hidden, target) < 300


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_can_add_and_take_away(seed, width, dimensions, activations, share):
    """Corrections of either sign are learnt, also where activations are signed.

    The activations span two directions only, which is as many as a bottleneck passes.
    """
    generator = torch.Generator().manual_seed(2)
    mixture = torch.randn(width, 2, generator=generator)
    hidden = torch.einsum("cd,bd...->bc...", mixture, activations(2, dimensions) - 0.4)
    assert steps_to_halve(seed, hidden, share * hidden) < 300


@pytest.mark.parametrize("channels", [8, 16, 32])
@pytest.mark.parametrize("spatial", [1, 2])
def test_parameter_counts(channels, spatial):
    area, inner = 3**spatial, channels // 4
    expected = {
        Blueprint.NORM: 2 * channels,
        Blueprint.ATTENTION: channels**2 // 2 + channels,
        Blueprint.CONV_SMALL: channels**2 + 2 * channels,
        Blueprint.DEPTHWISE: area * channels + channels**2 + 2 * channels,
        Blueprint.BOTTLENECK: 2 * channels * inner + area * inner**2 + 2 * channels,
        Blueprint.CONV_LIGHT: area * channels**2 + 2 * channels,
        Blueprint.CONV_HEAVY: 2 * (area * channels**2 + 2 * channels),
    }
    for blueprint, count in expected.items():
        assert Seed(blueprint, Activations.maps(channels, dimensions=spatial)).size == count + 1, (
            blueprint.name
        )


def test_narrow_hosts_have_seeds_too(blueprint, dimensions):
    hidden = torch.randn(4, 2, *(5,) * dimensions)
    assert Seed(blueprint, Activations.maps(2, dimensions=dimensions))(hidden).shape == hidden.shape
