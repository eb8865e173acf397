from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_kasmina import KasminaError, build_host
from esper_leyline import (
    Advance,
    Blueprint,
    CNNHostSpec,
    Germinate,
    LifecycleRules,
    SeedStage,
)


def cnn(shape, widths, kernel, pooled) -> CNNHostSpec:
    return CNNHostSpec(
        input_shape=shape,
        classes=10,
        widths=widths,
        kernel=kernel,
        pools=(pooled,) * len(widths),
    )


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        pytest.param(cnn((3, 32, 32), (8, 16, 32), 3, True), 6_418, id="cifar10"),
        pytest.param(cnn((3, 32, 32), (8, 16, 32, 64, 128), 3, True), 99_922, id="cifar10_deep"),
        pytest.param(cnn((3, 32, 32), (16, 32, 64), 1, False), 3_482, id="cifar10_blind"),
        pytest.param(cnn((1, 40), (16, 16, 16), 1, True), 794, id="mnist1d"),
    ],
)
def test_known_hosts(spec, count, make_host):
    host = make_host(spec)
    assert host.parameter_counts().host == count
    assert sum(p.numel() for p in host.parameters()) == count
    assert host(torch.randn(2, *spec.input_shape)).shape == (2, 10)


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


def test_a_blind_host_cannot_see_order(make_host, batch):
    spec = cnn((1, 24), (8, 8), 1, False)
    host = make_host(spec).eval()
    inputs = batch(spec)[0]
    shuffled = inputs[..., torch.randperm(24, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(host(inputs), host(shuffled))


def test_slots_are_those_enabled_row_major(spec, make_host):
    host = make_host(spec, slots=("r0c1", "r0c0"))
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
def test_wrong_slots_are_named(slots, message):
    spec = cnn((1, 8), (4, 4), 3, False)
    with pytest.raises(Exception, match=message) as caught:
        build_host(spec, slots=slots, rules=LifecycleRules(), max_seeds=None, seed=0)
    assert isinstance(caught.value, KasminaError)


def test_what_cannot_be_built_is_said():
    rules = LifecycleRules()
    deep = cnn((1, 4), (4, 4, 4), 3, True)
    with pytest.raises(KasminaError, match="cannot be halved 3 times"):
        build_host(deep, slots=deep.slots, rules=rules, max_seeds=None, seed=0)
    flat = cnn((1, 4), (4,), 3, False)
    with pytest.raises(KasminaError, match="max_seeds is 0"):
        build_host(flat, slots=flat.slots, rules=rules, max_seeds=0, seed=0)


def test_weights_follow_from_the_seed_alone(spec, make_host, grow):
    torch.manual_seed(1)
    first = make_host(spec, seed=5)
    grow(first, "r0c1", SeedStage.GERMINATED)
    torch.manual_seed(2)
    torch.rand(3)
    second, other = make_host(spec, seed=5), make_host(spec, seed=6)
    grow(second, "r0c1", SeedStage.GERMINATED)
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["classifier.weight"], other.state_dict()["classifier.weight"])


def test_the_global_generator_is_untouched(spec, make_host, grow):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    grow(make_host(spec), "r0c0", SeedStage.GERMINATED)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_birth_has_weights_of_its_own(make_host, grow):
    host = make_host()
    born = []
    for slot in ("r0c0", "r0c1"):
        grow(host, slot, SeedStage.GERMINATED)
        born.append(host.slot(slot).seed.branch[0].weight.clone())
    host.prune_live()
    for _ in range(7):
        host.tick()
    grow(host, "r0c0", SeedStage.GERMINATED)
    born.append(host.slot("r0c0").seed.branch[0].weight)
    assert not torch.equal(born[0], born[1])
    assert not torch.equal(born[0], born[2])


@pytest.fixture
def grown(make_host, grow, spec):
    """A host with a fossil and a blending seed, in evaluation mode."""
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.FOSSILIZED)
    grow(host, "r0c1", SeedStage.HOLDING)
    return host.eval()


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))], ids=["deep", "pickle"]
)
def test_copies_are_whole_and_apart(grown, batch, copied, train):
    inputs = batch(grown.spec)[0]
    twin = copied(grown)
    assert torch.equal(twin(inputs), grown(inputs))
    assert twin.seed_reports() == grown.seed_reports()
    before = grown(inputs).detach()
    twin.prune_live()
    train(twin, optimizer=torch.optim.SGD(twin.parameters(), lr=0.5))
    assert torch.equal(grown(inputs), before)
    assert grown.slot("r0c1").stage is SeedStage.HOLDING


def test_newborn_seeds_follow_the_host(make_host, order):
    host = make_host().double()
    order(host, "r0c0", Germinate(blueprint=Blueprint.CONV_LIGHT))
    assert {p.dtype for p in host.parameters()} == {torch.float64}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_counterfactuals_equal_separate_passes(data):
    spec = CNNHostSpec(
        input_shape=(1, 16), classes=5, widths=(4, 4, 4), kernel=1, pools=(True, False, False)
    )
    host = build_host(spec, slots=spec.slots, rules=LifecycleRules(), max_seeds=None, seed=3)
    stages = st.sampled_from(["dormant", "training", "half", "full"])
    for slot in host.slots:
        place(host.slot(slot), data.draw(stages))
    sets = st.frozensets(st.sampled_from(host.slots))
    disabled = data.draw(st.lists(sets, max_size=6))
    inputs = torch.randn(8, 1, 16, generator=torch.Generator().manual_seed(0))
    host.eval()
    with torch.no_grad():
        logits = host.counterfactuals(inputs, disabled)
        assert logits.shape == (len(disabled), 8, 5)
        for one, off in zip(logits, disabled, strict=True):
            columns = [0.0 if slot in off else torch.nan for slot in host.slots]
            alpha = torch.tensor(columns).expand(8, -1)
            torch.testing.assert_close(one, host(inputs, alpha))
            if not off:
                assert torch.equal(one, host(inputs))


def place(slot, how):
    """Puts a lively seed into a slot at the wanted strength."""

    if how == "dormant":
        return
    assert slot.apply_command(Germinate(blueprint=Blueprint.CONV_LIGHT, alpha_target=1.0)).accepted
    torch.nn.init.constant_(slot.seed.scale, 0.7)
    assert slot.apply_command(Advance()).accepted
    if how == "training":
        return
    slot.seed(torch.randn(4, 4, 8)).sum().backward()
    slot.record_gradients()
    slot.tick()
    assert slot.apply_command(Advance()).accepted
    for _ in range(1 if how == "half" else 3):
        slot.tick()


def test_shared_prefixes_and_duplicates_are_computed_once(make_host, grow, batch):
    host = make_host()
    for slot in ("r0c0", "r0c2"):
        grow(host, slot, SeedStage.HOLDING)
    grow(host, "r0c1", SeedStage.TRAINING)
    host.eval()
    calls = []
    for depth, block in enumerate(host.blocks):
        block.register_forward_hook(lambda *_, depth=depth: calls.append(depth))
    main, last, both = frozenset(), frozenset({"r0c2"}), frozenset({"r0c0", "r0c2"})
    idle = frozenset({"r0c1"})
    with torch.no_grad():
        host.counterfactuals(batch()[0], [main, last, idle, last])
        assert sorted(calls) == [0, 1, 2]
        calls.clear()
        host.counterfactuals(batch()[0], [main, last, both, frozenset({"r0c0"})])
        assert sorted(calls) == [0, 1, 1, 2, 2]


def test_an_unknown_slot_in_a_configuration_is_named(make_host, batch):
    with pytest.raises(KasminaError, match="no enabled slot 'r9c9'"):
        make_host().counterfactuals(batch()[0], [frozenset({"r9c9"})])


def test_overrides_are_per_sample_and_for_active_slots_only(make_host, grow, batch):
    host = make_host()
    grow(host, "r0c0", SeedStage.HOLDING)
    grow(host, "r0c1", SeedStage.GERMINATED)
    host.eval()
    inputs = batch()[0][:3]
    nan = torch.nan
    alpha = torch.tensor([[nan, 1.0, nan], [0.0, nan, 1.0], [0.5, nan, nan]])
    with torch.no_grad():
        mixed = host(inputs, alpha)
        bare = host.counterfactuals(inputs, [frozenset({"r0c0"})])[0]
        full = host(inputs)
        torch.testing.assert_close(mixed[0], full[0])
        torch.testing.assert_close(mixed[1], bare[1])
        assert not torch.allclose(mixed[2], full[2])
        assert not torch.allclose(mixed[2], bare[2])


def test_an_override_switches_a_training_seed_on(make_host, grow, batch):
    host = make_host()
    grow(host, "r0c0", SeedStage.TRAINING)
    host.eval()
    inputs = batch()[0]
    own = torch.full((len(inputs), 3), torch.nan)
    shown = own.clone()
    shown[:, 0] = 1.0
    torch.testing.assert_close(host(inputs, own), host(inputs))
    assert not torch.allclose(host(inputs, shown), host(inputs))
    host(inputs, own).sum().backward()
    assert host.slot("r0c0").seed.scale.grad.abs() > 0


def test_overrides_of_the_wrong_shape_are_refused(make_host, batch):
    with pytest.raises(KasminaError, match=r"shape \(32, 2\).*\(32, 3\)"):
        make_host()(batch()[0], torch.zeros(32, 2))
