from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from esper_kasmina import build_host
from esper_leyline import (
    Advance,
    Germinate,
    HostOptions,
    HostTraining,
    SeedCommand,
    TransformerHostSpec,
)
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS
from esper_leyline.ports import HOST_GROUP
from esper_tolaria.engine.optimizers import build_optimizer, seed_options

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


@pytest.mark.parametrize(("seed_norm", "moved"), [(None, 0.5), (8.0, 4.0), (0.25, 0.125)])
def test_groups_are_clipped_separately(seed_norm, moved):
    training = HostTraining(
        optimizer="sgd",
        learning_rate=1.0,
        seed_learning_rate=0.5,
        momentum=0.0,
        max_grad_norm=1.0,
        seed_max_grad_norm=seed_norm,
    )
    host, seed = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(host_of([host]), training)
    optimizer.add_param_group({"params": [seed], **seed_options(training)})
    host.grad, seed.grad = torch.tensor([0.25]), torch.tensor([100.0])
    optimizer.step()
    assert host.item() == -0.25
    assert seed.item() == pytest.approx(-moved)


def test_parameters_without_gradient_are_not_changed():
    members = parameters(1)
    optimizer = build_optimizer(host_of(members), HostTraining(optimizer="adamw", weight_decay=0.5))
    before = [member.detach().clone() for member in members]
    give_gradients(members[:1], 0, 1.0)
    optimizer.step()
    assert not torch.equal(members[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(members[1:], before[1:], strict=True))


def test_zero_grad_resets_all_gradients():
    members = parameters(2)
    optimizer = build_optimizer(host_of(members), HostTraining())
    give_gradients(members, 0, 1.0)
    optimizer.zero_grad()
    assert all(member.grad is None for member in members)


def test_a_nan_gradient_makes_its_whole_group_nan():
    members = parameters(3)
    optimizer = build_optimizer(host_of(members), HostTraining())
    give_gradients(members, 0, 1.0)
    members[0].grad[0, 0] = float("nan")
    optimizer.step()
    assert all(torch.isnan(member).all() for member in members)


def a_batch(spec, seed):
    generator = torch.Generator().manual_seed(seed)
    if isinstance(spec, TransformerHostSpec):
        tokens = torch.randint(spec.vocabulary, (6, spec.block + 1), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]
    inputs = torch.randn(6, *spec.input_shape, generator=generator)
    return inputs, torch.randint(spec.classes, (6,), generator=generator)


def norms_after(host, spec, seed):
    """Makes gradients; returns their norm by group."""
    inputs, targets = a_batch(spec, seed)
    host.zero_grad()
    cross_entropy(host(inputs).flatten(0, -2), targets.flatten()).backward()
    groups = host.parameter_groups().items()
    return {name: torch.cat([p.grad.flatten() for p in ps]).norm() for name, ps in groups}


def germinate(host, slot):
    blueprint = TOPOLOGY_BLUEPRINTS[host.spec.topology][-1]
    for command in (Germinate(blueprint=blueprint), Advance()):
        assert host.apply_command(SeedCommand(slot=slot, command=command)).accepted
    with torch.no_grad():
        host.slot(slot).seed.scale.fill_(0.5)


TORCHS_OWN = {
    "adamw": lambda members: torch.optim.AdamW(members, lr=0.02, weight_decay=0.01),
    "sgd": lambda members: torch.optim.SGD(members, lr=0.02, momentum=0.8, weight_decay=0.01),
}


@pytest.mark.parametrize("kind", TORCHS_OWN)
@pytest.mark.parametrize(
    ("host_norm", "seed_norm"), [(0.02, 50.0), (50.0, 0.02)], ids=["host clipped", "seed clipped"]
)
def test_growing_hosts_train_as_with_the_optimizers_of_torch(family, kind, host_norm, seed_norm):
    training = HostTraining(
        optimizer=kind,
        learning_rate=0.02,
        seed_learning_rate=0.05,
        momentum=0.8,
        weight_decay=0.01,
        max_grad_norm=host_norm,
        seed_max_grad_norm=seed_norm,
    )
    ours, theirs = (
        build_host(family, HostOptions(slots=family.slots, rng_seed=1)) for _ in range(2)
    )
    mine = build_optimizer(ours, training)
    reference = TORCHS_OWN[kind](theirs.parameter_groups()[HOST_GROUP])
    clipped = set()
    for step in range(8):
        if step == 2:
            germinate(ours, "r0c1")
            germinate(theirs, "r0c1")
            ours.sync_optimizer(mine, seed_options(training))
            theirs.sync_optimizer(reference, {"lr": 0.05})
        norms_after(ours, family, step)
        for name, norm in norms_after(theirs, family, step).items():
            limit = host_norm if name == HOST_GROUP else seed_norm
            clip_grad_norm_(theirs.parameter_groups()[name], limit)
            clipped |= {name} if norm > limit else set()
        mine.step()
        reference.step()
    assert clipped == {HOST_GROUP if host_norm < seed_norm else "r0c1"}
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        # A key's bias moves no attention, so its gradient is rounding, which Adam makes large.
        if not name.endswith("project.bias"):
            torch.testing.assert_close(parameter, expected[name], rtol=1e-4, atol=1e-6)
    inputs, _ = a_batch(family, 99)
    torch.testing.assert_close(ours.eval()(inputs), theirs.eval()(inputs), rtol=1e-4, atol=1e-5)


def scaled_pair(kind):
    """Equal parameters under two optimisers, and the scaler of the second's gradients."""
    training = HostTraining(optimizer=kind, max_grad_norm=1.0)
    plain, scaled = parameters(4), parameters(4)
    optimizers = [build_optimizer(host_of(members), training) for members in (plain, scaled)]
    return plain, scaled, *optimizers, torch.amp.GradScaler("cpu", init_scale=1024.0)


@pytest.mark.parametrize("kind", TORCHS_OWN)
@pytest.mark.parametrize("size", [0.01, 50.0])
@pytest.mark.parametrize("early", [False, True], ids=["unscaled by the step", "unscaled before"])
def test_scaled_gradients_are_clipped_and_applied_at_their_true_size(kind, size, early):
    plain, scaled, one, other, scaler = scaled_pair(kind)
    for step in range(4):
        give_gradients(plain, step, size)
        give_gradients(scaled, step, size)
        for member in scaled:
            member.grad *= scaler.scale(torch.ones(()))
        if early:
            scaler.unscale_(other)
            torch.testing.assert_close(scaled[0].grad, plain[0].grad)
        one.step()
        scaler.step(other)
        scaler.update()
    for mine, reference in zip(scaled, plain, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TORCHS_OWN)
def test_an_update_whose_gradients_overflowed_is_skipped(kind):
    _, members, _, optimizer, scaler = scaled_pair(kind)
    for step in range(2):
        before = [member.detach().clone() for member in members]
        states = [copy.deepcopy(optimizer.state[member]) for member in members]
        give_gradients(members, step, scaler.scale(torch.ones(())).item())
        if step == 1:
            members[1].grad[2] = math.inf
        scaler.step(optimizer)
        scaler.update()
        assert any(torch.equal(a, b) for a, b in zip(members, before, strict=True)) == (step == 1)
    assert all(torch.equal(a, b) for a, b in zip(members, before, strict=True))
    for member, state in zip(members, states, strict=True):
        assert state
        assert all(torch.equal(optimizer.state[member][name], state[name]) for name in state)
    assert scaler.get_scale() == 512.0


def test_an_added_group_takes_the_defaults_of_the_optimizer():
    host, seed = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(2))
    optimizer = build_optimizer(host_of([host]), HostTraining(optimizer="adamw"))
    group = {"params": iter([seed]), "lr": 0.5}
    optimizer.add_param_group(group)
    # Torch's optimizers keep the given dict, too.
    assert optimizer.param_groups[1] is group
    assert group["params"] == [seed]
    assert group["lr"] == 0.5
    assert group.keys() == optimizer.param_groups[0].keys()
    with pytest.raises(AssertionError, match="belongs to one group"):
        optimizer.add_param_group({"params": [host]})
