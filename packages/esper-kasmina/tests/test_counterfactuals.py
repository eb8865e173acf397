"""Counterfactuals: shared prefixes, separate passes and overrides in a batch agree."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_kasmina import BLUEPRINTS, KasminaError, build_host
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    Germinate,
    HostOptions,
    MLPHostSpec,
    SeedStage,
    TransformerHostSpec,
)

SPECS = {
    "cnn": CNNHostSpec(
        input_shape=(1, 16), classes=5, widths=(4, 4, 4), kernel=1, pools=(True, False, False)
    ),
    "mlp": MLPHostSpec(input_shape=(6,), classes=5, widths=(4, 6, 4)),
    "gpt": TransformerHostSpec(
        vocabulary=5, width=4, heads=2, layers=3, block=6, layers_per_slot=1
    ),
}


def make_inputs(spec):
    generator = torch.Generator().manual_seed(0)
    if isinstance(spec, TransformerHostSpec):
        return torch.randint(spec.vocabulary, (8, spec.block), generator=generator)
    return torch.randn(8, *spec.input_shape, generator=generator)


def put_seed(slot, how, blueprint, style):
    """Puts a seed with a nonzero scale into a slot, at a strength."""
    if how == "dormant":
        return
    assert slot.apply_command(Germinate(blueprint=blueprint, style=style)).accepted
    torch.nn.init.constant_(slot.seed.scale, 0.7)
    assert slot.apply_command(Advance()).accepted
    if how == "training":
        return
    kind = slot.activations
    shape = [4] * kind.rank
    shape[kind.channel_axis] = kind.channels
    example = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    slot.seed(example).square().sum().backward()
    slot.record_gradients()
    slot.tick()
    assert slot.apply_command(Advance()).accepted
    for _ in range({"starting": 0, "half": 1, "full": 3}[how]):
        slot.tick()


def without(host, off):
    """The same host with some seeds made the identity for good."""
    bare = copy.deepcopy(host)
    for name in off:
        if bare.slot(name).seed is not None:
            torch.nn.init.zeros_(bare.slot(name).seed.scale)
    return bare


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_counterfactuals_equal_separate_passes(spec, data):
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=3))
    stages = st.sampled_from(["dormant", "training", "starting", "half", "full", "full"])
    blueprints = st.sampled_from(sorted(BLUEPRINTS[spec.topology]))
    for slot in host.slots:
        style = data.draw(st.sampled_from(BlendStyle))
        put_seed(host.slot(slot), data.draw(stages), data.draw(blueprints), style)
    sets = st.frozensets(st.sampled_from(host.slots))
    disabled = data.draw(st.lists(sets, max_size=6))
    inputs = make_inputs(spec)
    host.eval()
    with torch.no_grad():
        logits = host.counterfactuals(inputs, disabled)
        assert logits.shape == (len(disabled), *host(inputs).shape)
        for one, off in zip(logits, disabled, strict=True):
            torch.testing.assert_close(one, without(host, off)(inputs))
            columns = [0.0 if slot in off else torch.nan for slot in host.slots]
            alpha = torch.tensor(columns).expand(8, -1)
            torch.testing.assert_close(one, host(inputs, alpha))
            if not off:
                assert torch.equal(one, host(inputs))
        if disabled:
            check_one_batch(host, inputs, disabled, logits)


def check_one_batch(host, inputs, disabled, logits):
    """All configurations at once, each sample under its own."""
    rows = [[0.0 if slot in off else torch.nan for slot in host.slots] for off in disabled]
    alpha = torch.tensor(rows).repeat_interleave(len(inputs), dim=0)
    repeated = torch.cat([inputs] * len(disabled))
    torch.testing.assert_close(host(repeated, alpha), logits.flatten(0, 1))


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


def test_an_unknown_slot_in_a_configuration_is_refused(make_host, batch):
    with pytest.raises(KasminaError, match="no enabled slot 'r9c9'"):
        make_host().counterfactuals(batch()[0], [frozenset({"r9c9"})])


def test_overrides_apply_per_sample_and_to_active_slots_only(family, style, make_host, grow, batch):
    host = make_host(family)
    grow(host, "r0c0", SeedStage.HOLDING, style=style)
    grow(host, "r0c1", SeedStage.GERMINATED, style=style)
    host.eval()
    inputs = batch(family)[0][:3]
    nan = torch.nan
    alpha = torch.tensor([[nan, 1.0, nan], [0.0, nan, 1.0], [0.5, nan, nan]])
    alpha = alpha[:, : len(host.slots)]
    with torch.no_grad():
        mixed = host(inputs, alpha)
        bare = host.counterfactuals(inputs, [frozenset({"r0c0"})])[0]
        full = host(inputs)
        torch.testing.assert_close(mixed[0], full[0])
        torch.testing.assert_close(mixed[1], bare[1])
        assert not torch.allclose(mixed[2], full[2])
        assert not torch.allclose(mixed[2], bare[2])


def test_an_override_of_1_blends_in_a_training_seed(family, style, make_host, grow, batch):
    host = make_host(family)
    grow(host, "r0c0", SeedStage.TRAINING, style=style)
    host.eval()
    inputs = batch(family)[0]
    own = torch.full((len(inputs), len(host.slots)), torch.nan)
    shown = own.clone()
    shown[:, 0] = 1.0
    torch.testing.assert_close(host(inputs, own), host(inputs))
    assert not torch.allclose(host(inputs, shown), host(inputs))
    host(inputs, own).sum().backward()
    assert host.slot("r0c0").seed.scale.grad.abs() > 0


def test_overrides_of_the_wrong_shape_are_refused(make_host, batch):
    with pytest.raises(KasminaError, match=r"shape \(32, 2\).*\(32, 3\)"):
        make_host()(batch()[0], torch.zeros(32, 2))


@pytest.mark.parametrize("name", SPECS)
def test_an_override_can_be_set_as_an_attribute_of_the_slot(name, style):
    """For the passes of a model that cannot hand it in."""
    spec = SPECS[name]
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=3))
    slot, inputs = host.slot("r0c1"), make_inputs(spec)
    put_seed(slot, "full", Blueprint.NORM, style)
    column = torch.linspace(0.0, 1.0, len(inputs))
    alpha = torch.full((len(inputs), 3), torch.nan)
    alpha[:, 1] = column
    with torch.no_grad():
        handed, plain = host.eval()(inputs, alpha), host(inputs)
        slot.override = column
        assert torch.equal(host(inputs), handed)
        assert not torch.allclose(handed, plain)
        slot.override = None
        assert torch.equal(host(inputs), plain)
