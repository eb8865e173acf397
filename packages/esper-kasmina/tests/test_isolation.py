"""A training seed does not change its host; a blended one never blocks its gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from esper_leyline import AlphaCurve, BlendStyle, Prune, SeedStage, SetAlphaTarget, Topology
from esper_leyline.actions import ALPHA_SPEED_TICKS, ALPHA_TARGETS, TEMPO_EPOCHS


@pytest.fixture
def pass_through(batch, objective):
    """One forward and backward pass: the output and the host's own gradients."""

    def run(host):
        inputs, labels = batch(host.spec)
        host.zero_grad()
        output = host(inputs)
        objective(output, labels).backward()
        return output.detach(), [p.grad.clone() for p in host.parameter_groups()["host"]]

    return run


def assert_same(first, second):
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


def own_weights(host):
    return {k: v for k, v in host.state_dict().items() if not k.startswith("seed_slots")}


def activations_of(slot, *, requires_grad=False):
    """Signed activations as they flow through a slot."""
    kind = slot.activations
    shape = [4] + [6] * (kind.rank - 1)
    shape[kind.channel_axis] = kind.channels
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator).requires_grad_(requires_grad)


def test_outputs_and_gradients_with_a_training_seed_are_bit_identical(
    spec_and_blueprint, style, make_host, grow, pass_through
):
    spec, blueprint = spec_and_blueprint
    host, bare = make_host(spec), make_host(spec)
    for slot in host.slots:
        grow(host, slot, SeedStage.TRAINING, blueprint, style=style)
    for training in (True, False):
        host.train(training)
        bare.train(training)
        assert_same(pass_through(host), pass_through(bare))
        for slot in host.slots:
            assert host.slot(slot).seed.scale.grad.abs() > 0


def test_a_host_trains_the_same_with_and_without_training_seeds(
    family, style, make_host, grow, train
):
    host, bare = make_host(family), make_host(family)
    for slot in host.slots:
        grow(host, slot, SeedStage.TRAINING, style=style)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (host, bare)]
    initial = copy.deepcopy(host.slot("r0c0").seed.state_dict())
    for _ in range(3):
        train(host, optimizer=optimizers[0])
        train(bare, optimizer=optimizers[1])
    assert own_weights(host).keys() == own_weights(bare).keys()
    assert all(torch.equal(own_weights(host)[k], v) for k, v in own_weights(bare).items())
    assert not torch.equal(host.slot("r0c0").seed.scale, initial["scale"])


def test_a_germinated_seed_is_bypassed(family, style, make_host, grow, pass_through):
    host, bare = make_host(family), make_host(family)
    grow(host, "r0c1", SeedStage.GERMINATED, style=style)
    assert_same(pass_through(host), pass_through(bare))
    assert all(p.grad is None for p in host.slot("r0c1").seed.parameters())


@pytest.mark.parametrize("broken", ["scale", "everything"])
@pytest.mark.parametrize("stage", [SeedStage.TRAINING, SeedStage.BLENDING])
def test_a_training_seed_that_overflows_does_not_change_the_host(
    family, style, make_host, grow, pass_through, *, stage, broken
):
    host, bare = make_host(family), make_host(family)
    grow(host, "r0c0", stage, style=style)
    bare.load_state_dict(own_weights(host))
    seed = host.slot("r0c0").seed
    for parameter in [seed.scale] if broken == "scale" else seed.parameters():
        torch.nn.init.constant_(parameter, torch.inf)
    assert_same(pass_through(host), pass_through(bare))


def test_isolation_equals_the_straight_through_estimator(
    spec_and_blueprint, style, make_host, grow
):
    spec, blueprint = spec_and_blueprint
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.TRAINING, blueprint, style=style)
    slot = host.slot("r0c0")
    hidden = activations_of(slot, requires_grad=True)
    weights = torch.randn_like(hidden)
    output = slot(hidden)
    (output * weights).sum().backward()
    found = [hidden.grad, *(p.grad for p in slot.seed.parameters())]
    hidden.grad = None
    slot.zero_grad()
    seed = slot.seed(hidden.detach())
    textbook = hidden + (seed - seed.detach())
    (textbook * weights).sum().backward()
    expected = [hidden.grad, *(p.grad for p in slot.seed.parameters())]
    torch.testing.assert_close(output, textbook)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_blending_at_alpha_zero_still_trains_the_seed(family, style, make_host, grow, pass_through):
    host, bare = make_host(family), make_host(family)
    grow(host, "r0c0", SeedStage.BLENDING, style=style)
    assert host.slot("r0c0").alpha == 0.0
    bare.load_state_dict(own_weights(host))
    assert_same(pass_through(host), pass_through(bare))
    assert host.slot("r0c0").seed.scale.grad.abs() > 0


def first_layer(host):
    """A weight that gradients reach through every slot alone."""
    match host.spec.topology:
        case Topology.CNN:
            return host.blocks[0].convolution.weight
        case Topology.MLP:
            return host.blocks[0][0].weight
        case Topology.TRANSFORMER:
            return host.positions.weight


def test_at_full_alpha_gradients_reach_the_layers_before_the_slot(
    spec_and_blueprint, style, make_host, grow, pass_through
):
    spec, blueprint = spec_and_blueprint
    host = make_host(spec)
    for slot, stage in zip(host.slots, [SeedStage.HOLDING, SeedStage.FOSSILIZED], strict=False):
        grow(host, slot, stage, blueprint, style=style)
        assert host.slot(slot).alpha == 1.0
    bare, ratios = make_host(spec), []
    for model in (host, bare):
        pass_through(model)
        ratios.append(first_layer(model).grad.norm())
    assert ratios[0] > 0.05 * ratios[1]


def test_at_full_alpha_the_output_is_that_of_the_seed(family, style, make_host, grow):
    host = make_host(family)
    grow(host, "r0c0", SeedStage.HOLDING, style=style)
    slot = host.slot("r0c0")
    hidden = activations_of(slot)
    host.eval()
    assert torch.equal(slot(hidden), slot.seed(hidden))
    assert not torch.equal(slot(hidden), hidden)


def test_blend_algorithms_compute_their_formulas(family, make_host, grow):
    """At any alpha a: h + a (s - h), h (1 + a tanh(s - x)) and h + a g(x) (s - h)."""
    alpha = torch.tensor([0.25, 0.5, 0.75, 1.0])
    for style in (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE):
        host = make_host(family)
        grow(host, "r0c0", SeedStage.HOLDING, style=style)
        slot = host.eval().slot("r0c0")
        hidden = activations_of(slot)
        change = slot.seed.scale * slot.seed.branch(hidden)
        share = slot.activations.column(alpha)
        if style is BlendStyle.GATED_GATE:
            torch.nn.init.normal_(slot.seed.gate.logit.weight)
            expected = hidden + share * slot.seed.gate(hidden) * change
        elif style is BlendStyle.LINEAR_MULTIPLY:
            expected = hidden * (1 + share * change.tanh())
        else:
            expected = hidden + share * change
        torch.testing.assert_close(slot(hidden, alpha), expected)


@pytest.mark.parametrize("target", ALPHA_TARGETS)
@pytest.mark.parametrize("style", list(BlendStyle))
@pytest.mark.parametrize("tempo", TEMPO_EPOCHS)
def test_the_first_ramp_starts_at_zero_and_ends_on_its_target(
    make_host, grow, train, *, tempo, style, target
):
    host = make_host()
    grow(host, "r0c0", SeedStage.BLENDING, tempo=tempo, alpha_target=target, style=style)
    seen = [host.slot("r0c0").alpha]
    for _ in range(tempo):
        train(host)
        seen.append(host.slot("r0c0").alpha)
    assert seen[0] == 0.0
    assert seen[-1] == target
    assert seen == sorted(set(seen))


@pytest.fixture
def held(family, style, make_host, grow):
    host = make_host(family, min_prune_age=0)
    grow(host, "r0c0", SeedStage.HOLDING, style=style)
    return host


def test_a_scheduled_prune_ramps_a_frozen_seed_down(held, order, train):
    host = held
    order(host, "r0c0", Prune(ticks=3, curve=AlphaCurve.COSINE))
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


def test_a_new_alpha_target_is_reached(held, order, train):
    host = held
    style = host.slot("r0c0").state.style
    order(host, "r0c0", SetAlphaTarget(style=style, alpha_target=0.5, ticks=3))
    assert host.slot("r0c0").stage is SeedStage.BLENDING
    for _ in range(3):
        train(host)
    assert host.slot("r0c0").alpha == 0.5


@pytest.mark.parametrize("ticks", ALPHA_SPEED_TICKS)
@pytest.mark.parametrize("curve", list(AlphaCurve))
def test_every_ramp_starts_and_ends_exactly(make_host, grow, order, curve, ticks):
    """Down to every target, up again and out, in the value reported and in the value used."""
    host = make_host(min_prune_age=0)
    grow(host, "r0c0", SeedStage.HOLDING)
    slot = host.eval().slot("r0c0")
    hidden = activations_of(slot)
    for target in (0.7, 0.5, 1.0, 0.0):
        seen = [slot.alpha]
        command = SetAlphaTarget(
            style=BlendStyle.LINEAR_ADD, alpha_target=target, ticks=ticks, curve=curve
        )
        order(host, "r0c0", command if target else Prune(ticks=ticks, curve=curve))
        for _ in range(ticks):
            host.tick()
            seen.append(slot.alpha)
        assert slot.alpha == target
        assert torch.equal(slot(hidden), slot(hidden, torch.full((4,), target)))
        assert len(set(seen)) == ticks + 1
        assert seen in (sorted(seen), sorted(seen, reverse=True))
    assert slot.stage is SeedStage.PRUNED


def test_a_seed_that_overflows_has_no_effect_at_alpha_zero(family, style, make_host, grow, batch):
    host, bare = make_host(family), make_host(family)
    grow(host, "r0c0", SeedStage.HOLDING, style=style)
    bare.load_state_dict(own_weights(host))
    for parameter in host.slot("r0c0").seed.parameters():
        torch.nn.init.constant_(parameter, torch.inf)
    inputs = batch(family)[0]
    alpha = torch.full((len(inputs), len(host.slots)), torch.nan)
    alpha[:, 0] = 0.0
    with torch.no_grad():
        expected = bare.eval()(inputs)
        assert torch.equal(host.eval()(inputs, alpha), expected)
        assert torch.equal(host.counterfactuals(inputs, [frozenset({"r0c0"})])[0], expected)
        assert not host(inputs).isfinite().all()
