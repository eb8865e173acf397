from __future__ import annotations

import copy
import pickle

import pytest
import torch

from esper_kasmina import BLUEPRINTS, KasminaError, build_host
from esper_leyline import (
    BlendStyle,
    CNNHostSpec,
    HostOptions,
    LifecycleRules,
    MLPHostSpec,
    SeedStage,
    SetAlphaTarget,
    Topology,
    TransformerHostSpec,
)

from .host_specs import HOST_SPECS


def cnn(shape, widths, kernel, pooled) -> CNNHostSpec:
    return CNNHostSpec(
        input_shape=shape,
        classes=10,
        widths=widths,
        kernel=kernel,
        pools=(pooled,) * len(widths),
    )


COUNTS = {
    "cifar10": 6_418,
    "cifar10_deep": 99_922,
    "cifar10_blind": 3_482,
    "fashion_mnist": 1_362,
    "fashion_mnist_blind": 642,
    "mnist1d": 818,
    "mnist1d_blind": 794,
    "mnist1d_shuffled": 818,
    "digits": 802,
    "topics": 29_400,
    "mnist1d_mlp": 3_946,
    "tinystories": 30_044_544,
    "gpt_small": 220_544,
}


def test_every_named_host_has_an_expected_parameter_count():
    assert COUNTS.keys() == HOST_SPECS.keys()


@pytest.mark.parametrize("name", HOST_SPECS)
def test_parameter_counts_and_output_shapes_of_named_hosts(name, make_host, batch):
    spec = HOST_SPECS[name]
    host = make_host(spec).eval()
    assert host.parameter_counts().host == COUNTS[name]
    assert sum(p.numel() for p in host.parameters()) == COUNTS[name]
    inputs = batch(spec, 2)[0]
    if spec.topology is Topology.TRANSFORMER:
        assert host(inputs[:, :3]).shape == (2, 3, spec.vocabulary)
    else:
        assert host(inputs).shape == (2, 10)


def test_a_transformer_has_a_slot_after_every_second_layer(make_host):
    host = make_host(HOST_SPECS["gpt_small"])
    assert [slot and slot.name for _, slot in host.slotted_blocks] == [None, "r0c0", None, "r0c1"]


@pytest.mark.parametrize("blueprint", sorted(BLUEPRINTS[Topology.TRANSFORMER]))
def test_no_token_sees_a_later_one(make_host, grow, style, blueprint):
    spec = TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=4, block=9)
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.HOLDING, blueprint, style=style)
    grow(host, "r0c1", SeedStage.FOSSILIZED, blueprint, style=style)
    host.eval()
    text = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(0))
    for position in (1, 4, 8):
        changed = text.clone()
        changed[:, position] = (changed[:, position] + 1) % 11
        with torch.no_grad():
            before, after = host(text), host(changed)
        torch.testing.assert_close(after[:, :position], before[:, :position], rtol=0, atol=1e-6)
        assert not torch.allclose(after[:, position], before[:, position])


def test_short_sequences_fit_and_long_ones_are_refused(make_host):
    host = make_host(TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=2, block=9))
    for length in (1, 9):
        assert host(torch.zeros(2, length, dtype=torch.long)).shape == (2, length, 11)
    with pytest.raises(KasminaError, match=r"sequences of 10 tokens do not fit.* 9 positions"):
        host(torch.zeros(2, 10, dtype=torch.long))


def test_an_mlp_flattens_its_inputs(make_host):
    host = make_host(MLPHostSpec(input_shape=(3, 4, 5), classes=7, widths=(6,)))
    inputs = torch.randn(2, 3, 4, 5)
    assert host(inputs).shape == (2, 7)
    assert torch.equal(host(inputs), host(inputs.flatten(1)))


def test_pooling_before_relu_is_the_same_function(spec, make_host, batch):
    host = make_host(spec).eval()
    hidden = inputs = batch(spec)[0]
    for block, pooled in zip(host.blocks, spec.pools, strict=True):
        hidden = block.norm(block.convolution(hidden)).relu()
        if pooled:
            pool = (
                torch.nn.functional.max_pool1d
                if hidden.dim() == 3
                else (torch.nn.functional.max_pool2d)
            )
            hidden = pool(hidden, 2)
    expected = host.classifier(hidden.flatten(2).mean(2))
    torch.testing.assert_close(host(inputs), expected)


def test_a_host_with_kernel_size_1_does_not_depend_on_the_order_of_positions(make_host, batch):
    spec = cnn((1, 24), (8, 8), 1, False)
    host = make_host(spec).eval()
    inputs = batch(spec)[0]
    shuffled = inputs[..., torch.randperm(24, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(host(inputs), host(shuffled))


def test_slots_are_the_enabled_ones_row_major(family, make_host):
    host = make_host(family, slots=("r0c1", "r0c0"))
    assert host.slots == ("r0c0", "r0c1")
    assert [report.slot for report in host.seed_reports()] == ["r0c0", "r0c1"]


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (("r0c7",), "no slot 'r0c7'; it offers r0c0, r0c1"),
        ((), "no slots enabled"),
        (("r0c0", "r0c0"), "named twice"),
    ],
)
def test_unknown_slots_are_refused(slots, message):
    spec = cnn((1, 8), (4, 4), 3, False)
    with pytest.raises(Exception, match=message) as caught:
        build_host(spec, HostOptions(slots=slots, rng_seed=0))
    assert isinstance(caught.value, KasminaError)


def test_hosts_that_cannot_be_built_are_refused():
    rules = LifecycleRules()
    deep = cnn((1, 4), (4, 4, 4), 3, True)
    with pytest.raises(KasminaError, match="cannot be halved 3 times"):
        build_host(deep, HostOptions(slots=deep.slots, rules=rules, rng_seed=0))
    flat = cnn((1, 4), (4,), 3, False)
    with pytest.raises(KasminaError, match="max_seeds is 0"):
        build_host(flat, HostOptions(slots=flat.slots, rules=rules, max_seeds=0, rng_seed=0))


def test_weights_depend_on_the_random_seed_alone(family, style, make_host, grow):
    torch.manual_seed(1)
    first = make_host(family, seed=5)
    grow(first, "r0c1", SeedStage.GERMINATED, style=style)
    torch.manual_seed(2)
    torch.rand(3)
    second, other = make_host(family, seed=5), make_host(family, seed=6)
    grow(second, "r0c1", SeedStage.GERMINATED, style=style)
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    own = first.parameter_groups()["host"], other.parameter_groups()["host"]
    assert not all(torch.equal(mine, theirs) for mine, theirs in zip(*own, strict=True))


def test_the_global_generator_does_not_change(family, style, make_host, grow):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    grow(make_host(family), "r0c0", SeedStage.GERMINATED, style=style)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_germination_has_weights_of_its_own(make_host, grow):
    host = make_host()
    weights = []
    for slot in ("r0c0", "r0c1"):
        grow(host, slot, SeedStage.GERMINATED)
        weights.append(host.slot(slot).seed.branch[0].weight.clone())
    host.prune_live()
    for _ in range(7):
        host.tick()
    grow(host, "r0c0", SeedStage.GERMINATED)
    weights.append(host.slot("r0c0").seed.branch[0].weight)
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.fixture
def grown(make_host, grow, family, style):
    """A host with a fossilized seed and one held at full strength, in evaluation mode."""
    host = make_host(family)
    grow(host, "r0c0", SeedStage.FOSSILIZED, style=style)
    grow(host, "r0c1", SeedStage.HOLDING, style=style)
    return host.eval()


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))], ids=["deep", "pickle"]
)
def test_deep_copies_are_complete_and_independent(grown, batch, copied, train):
    inputs = batch(grown.spec)[0]
    twin = copied(grown)
    assert torch.equal(twin(inputs), grown(inputs))
    assert twin.seed_reports() == grown.seed_reports()
    before = grown(inputs).detach()
    twin.prune_live()
    train(twin, optimizer=torch.optim.SGD(twin.parameters(), lr=0.5))
    assert torch.equal(grown(inputs), before)
    assert grown.slot("r0c1").stage is SeedStage.HOLDING


def test_new_seeds_have_the_hosts_dtype(family, style, make_host, grow):
    host = make_host(family).double()
    grow(host, "r0c0", SeedStage.GERMINATED, style=style)
    assert {p.dtype for p in host.parameters()} == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["double", "bfloat16"])
def test_a_grown_host_moves_to_another_dtype(grown, batch, order, dtype):
    inputs = batch(grown.spec)[0]
    before = grown(inputs).detach()
    reports = grown.seed_reports()
    moved = grown.to(dtype)
    text = moved.spec.topology is Topology.TRANSFORMER
    after = moved(inputs if text else inputs.to(dtype))
    assert after.dtype is dtype
    assert moved.seed_reports() == reports
    tolerance = 0.1 if dtype is torch.bfloat16 else 1e-4
    torch.testing.assert_close(after.to(before), before, rtol=tolerance, atol=tolerance)
    order(
        moved,
        "r0c1",
        SetAlphaTarget(style=BlendStyle.GATED_GATE, alpha_target=1.0, ticks=0),
    )
    assert {p.dtype for p in moved.parameters()} == {dtype}
