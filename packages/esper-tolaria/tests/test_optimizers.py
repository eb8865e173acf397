from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from esper_leyline import HOST_GROUP, HostTraining
from esper_tolaria.optimizers import build_optimizer

SHAPES = ((4, 3), (7,), ())


def parameters(seed: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def host_of(members: list[torch.nn.Parameter]) -> SimpleNamespace:
    return SimpleNamespace(parameter_groups=lambda: {HOST_GROUP: members})


def give_gradients(members: list[torch.nn.Parameter], seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    for member in members:
        member.grad = size * torch.randn(member.shape, generator=generator)


def clipped(members: list[torch.nn.Parameter], limit: float) -> list[torch.Tensor]:
    norm = torch.sqrt(sum(member.grad.square().sum() for member in members))
    return [member.grad * min(1.0, limit / norm.item()) for member in members]


def plain_adamw(members, gradients, state, step):
    """Loshchilov and Hutter 2019, algorithm 2, with a learning rate of 0.1 and decay 0.01."""
    for member, gradient, (first, second) in zip(members, gradients, state, strict=True):
        first.mul_(0.9).add_(0.1 * gradient)
        second.mul_(0.999).add_(0.001 * gradient.square())
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        member.mul_(1 - 0.1 * 0.01).sub_(0.1 * mean / (square.sqrt() + 1e-8))


def plain_sgd(members, gradients, state, step):
    for member, gradient, (velocity, _) in zip(members, gradients, state, strict=True):
        velocity.mul_(0.9).add_(gradient + 0.01 * member)
        member.sub_(0.1 * velocity)


@pytest.mark.parametrize(("kind", "plain"), [("adamw", plain_adamw), ("sgd", plain_sgd)])
@pytest.mark.parametrize("size", [0.01, 50.0])
def test_updates_follow_the_published_rule_after_clipping(kind, plain, size):
    training = HostTraining(optimizer=kind, learning_rate=0.1, weight_decay=0.01, max_grad_norm=2.0)
    ours, theirs = parameters(0), parameters(0)
    optimizer = build_optimizer(host_of(ours), training)
    state = [(torch.zeros_like(each), torch.zeros_like(each)) for each in theirs]
    for step in range(1, 5):
        give_gradients(ours, step, size)
        give_gradients(theirs, step, size)
        optimizer.step()
        with torch.no_grad():
            plain(theirs, clipped(theirs, 2.0), state, step)
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, reference, rtol=1e-5, atol=1e-6)


def test_groups_are_clipped_apart():
    training = HostTraining(optimizer="sgd", learning_rate=1.0, momentum=0.0, max_grad_norm=1.0)
    host, seed = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(host_of([host]), training)
    optimizer.add_param_group({"params": [seed], "lr": 0.5})
    host.grad, seed.grad = torch.tensor([0.25]), torch.tensor([100.0])
    optimizer.step()
    assert host.item() == -0.25
    assert seed.item() == pytest.approx(-0.5)


def test_parameters_without_gradient_stay_as_they_are():
    members = parameters(1)
    optimizer = build_optimizer(host_of(members), HostTraining(optimizer="adamw", weight_decay=0.5))
    before = [member.detach().clone() for member in members]
    give_gradients(members[:1], 0, 1.0)
    optimizer.step()
    assert not torch.equal(members[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(members[1:], before[1:], strict=True))


def test_dropping_gradients_forgets_them_all():
    members = parameters(2)
    optimizer = build_optimizer(host_of(members), HostTraining())
    give_gradients(members, 0, 1.0)
    optimizer.drop_gradients()
    assert all(member.grad is None for member in members)


def test_a_broken_gradient_breaks_its_group_visibly():
    members = parameters(3)
    optimizer = build_optimizer(host_of(members), HostTraining())
    give_gradients(members, 0, 1.0)
    members[0].grad[0, 0] = float("nan")
    optimizer.step()
    assert all(torch.isnan(member).all() for member in members)
