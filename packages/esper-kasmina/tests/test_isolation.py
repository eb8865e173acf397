"""A training seed leaves its host alone; a blended one never cuts it off (trap 3)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from esper_leyline import AlphaCurve, Prune, SeedStage, SetAlphaTarget


def pass_through(host, inputs, labels):
    """One forward and backward pass: the output and the host's own gradients."""
    host.zero_grad()
    output = host(inputs)
    cross_entropy(output, labels).backward()
    return output.detach(), [p.grad.clone() for p in host.parameter_groups()["host"]]


def assert_same(first, second):
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def test_a_training_seed_changes_no_bit_of_the_host(spec, blueprint, make_host, grow, batch):
    host, bare = make_host(spec), make_host(spec)
    for slot in host.slots:
        grow(host, slot, SeedStage.TRAINING, blueprint)
    for training in (True, False):
        host.train(training)
        bare.train(training)
        assert_same(pass_through(host, *batch(spec)), pass_through(bare, *batch(spec)))
        for slot in host.slots:
            assert host.slot(slot).seed.scale.grad.abs() > 0


def test_a_germinated_seed_is_bypassed(spec, make_host, grow, batch):
    host, bare = make_host(spec), make_host(spec)
    grow(host, "r0c1", SeedStage.GERMINATED)
    assert_same(pass_through(host, *batch(spec)), pass_through(bare, *batch(spec)))
    assert all(p.grad is None for p in host.slot("r0c1").seed.parameters())


def test_a_seed_that_overflows_cannot_reach_the_host(make_host, grow, batch, spec):
    host, bare = make_host(spec), make_host(spec)
    grow(host, "r0c0", SeedStage.TRAINING)
    torch.nn.init.constant_(host.slot("r0c0").seed.scale, torch.inf)
    assert_same(pass_through(host, *batch(spec)), pass_through(bare, *batch(spec)))


def test_the_straight_through_form_is_the_textbook_one(make_host, grow, spec):
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.TRAINING)
    slot = host.slot("r0c0")
    hidden = torch.randn(4, 8, *(6,) * (len(spec.input_shape) - 1), requires_grad=True)
    weights = torch.randn_like(hidden)
    (slot(hidden) * weights).sum().backward()
    found = [hidden.grad, *(p.grad for p in slot.seed.parameters())]
    hidden.grad = None
    slot.zero_grad()
    seed = slot.seed(hidden.detach())
    ((hidden + (seed - seed.detach())) * weights).sum().backward()
    expected = [hidden.grad, *(p.grad for p in slot.seed.parameters())]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_blending_at_alpha_zero_still_trains_the_seed(spec, make_host, grow, batch):
    host, bare = make_host(spec), make_host(spec)
    grow(host, "r0c0", SeedStage.BLENDING)
    assert host.slot("r0c0").alpha == 0.0
    bare.load_state_dict(
        {k: v for k, v in host.state_dict().items() if not k.startswith("seed_slots")}
    )
    assert_same(pass_through(host, *batch(spec)), pass_through(bare, *batch(spec)))
    assert host.slot("r0c0").seed.scale.grad.abs() > 0


def test_at_full_alpha_the_gradient_reaches_the_stem(spec, blueprint, make_host, grow, batch):
    host = make_host(spec)
    for slot, stage in zip(host.slots, [SeedStage.HOLDING, SeedStage.FOSSILIZED], strict=False):
        grow(host, slot, stage, blueprint)
        assert host.slot(slot).alpha == 1.0
    bare, ratios = make_host(spec), []
    for model in (host, bare):
        pass_through(model, *batch(spec))
        ratios.append(model.blocks[0].convolution.weight.grad.norm())
    assert ratios[0] > 0.05 * ratios[1]


def test_at_full_alpha_the_output_is_the_seeds(make_host, grow, spec):
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.HOLDING)
    slot = host.slot("r0c0")
    hidden = torch.randn(4, 8, *(6,) * (len(spec.input_shape) - 1))
    host.eval()
    assert torch.equal(slot(hidden), slot.seed(hidden))
    assert not torch.equal(slot(hidden), hidden)


@pytest.mark.parametrize("tempo", [3, 5, 8])
def test_the_first_ramp_starts_at_zero_and_ends_on_its_target(make_host, grow, train, tempo):
    host = make_host()
    grow(host, "r0c0", SeedStage.BLENDING, tempo=tempo, alpha_target=0.7)
    seen = [host.slot("r0c0").alpha]
    for _ in range(tempo):
        train(host)
        seen.append(host.slot("r0c0").alpha)
    assert seen[0] == 0.0
    assert seen[-1] == 0.7
    assert seen == sorted(set(seen))


@pytest.fixture
def held(make_host, grow):
    host = make_host(min_prune_age=0)
    grow(host, "r0c0", SeedStage.HOLDING)
    return host


@pytest.mark.parametrize("curve", list(AlphaCurve))
def test_a_scheduled_prune_ramps_a_frozen_seed_down(held, order, train, curve):
    host = held
    order(host, "r0c0", Prune(ticks=3, curve=curve))
    slot = host.slot("r0c0")
    before = copy.deepcopy(slot.seed.state_dict())
    host.train()
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1, weight_decay=0.1)
    alphas = [slot.alpha]
    while slot.stage is SeedStage.HOLDING:
        frozen = slot.seed
        assert not any(p.requires_grad for p in frozen.parameters())
        train(host, optimizer=optimizer)
        alphas.append(slot.alpha)
        assert all(torch.equal(before[k], v) for k, v in frozen.state_dict().items())
    assert alphas[0] == 1.0
    assert alphas[-1] == 0.0
    assert len(alphas) == 4
    assert alphas == sorted(set(alphas), reverse=True)
    assert slot.seed is None


def test_a_retarget_ends_on_its_target(held, order, train):
    host = held
    style = host.slot("r0c0").state.style
    order(host, "r0c0", SetAlphaTarget(style=style, alpha_target=0.5, ticks=3))
    assert host.slot("r0c0").stage is SeedStage.BLENDING
    for _ in range(3):
        train(host)
    assert host.slot("r0c0").alpha == 0.5
