"""Slots in models of torchvision and torch, after their submodules."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from esper_kasmina import ActivationSpec, Grafted, KasminaError, SlotSite, graft
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    Germinate,
    SeedCommand,
    SeedStage,
    Topology,
)

from .lifecycle_helpers import epoch, give, raise_seed
from .sample_models import SAMPLE_MODELS

LARGE = pytest.mark.slow
MODELS = [
    pytest.param(SAMPLE_MODELS[n], id=n, marks=LARGE if n in {"vit_b_16", "video_resnet"} else ())
    for n in SAMPLE_MODELS
]
STYLES = (BlendStyle.LINEAR_ADD, BlendStyle.GATED_GATE, BlendStyle.LINEAR_MULTIPLY)


@pytest.fixture(params=MODELS)
def sample(request):
    return request.param


@pytest.fixture
def grafted(sample) -> Grafted:
    return graft(sample.make(), sample.sites, example_inputs=sample.inputs())


@pytest.fixture
def grown(sample, grafted) -> Grafted:
    """A fossilized seed and two at full strength, one of each algorithm; in evaluation mode."""
    stages = (SeedStage.FOSSILIZED, SeedStage.HOLDING, SeedStage.HOLDING)
    for slot, stage, style in zip(grafted.slots, stages, STYLES, strict=True):
        raise_seed(grafted, slot, stage, sample.blueprint, sample.inputs(), style=style)
    return grafted.eval()


def output(model, inputs):
    with torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize("training", [True, False])
def test_outputs_of_a_grafted_model_are_bit_identical(sample, training):
    plain, inputs = sample.make().train(training), sample.inputs()
    twin = copy.deepcopy(plain)
    names = [f"model.{name}" for name in plain.state_dict()]
    grafted = graft(twin, sample.sites, example_inputs=inputs)
    assert grafted.training is training
    assert [name for name in grafted.state_dict() if name.startswith("model.")] == names
    first, second = plain(inputs), grafted(inputs)
    assert torch.equal(first, second)
    for one, other in ((first, plain), (second, grafted)):
        one.square().sum().backward()
        assert all(p.grad is not None for p in other.parameters())
    pairs = zip(plain.parameters(), twin.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


def test_outputs_with_a_training_seed_are_bit_identical(sample, grafted):
    inputs, plain = sample.inputs(), sample.make()
    for slot in grafted.slots:
        raise_seed(grafted, slot, SeedStage.TRAINING, sample.blueprint, inputs)
    for model in (plain, grafted):
        model.train()
        model(inputs).square().sum().backward()
    pairs = zip(plain.parameters(), grafted.model.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)
    for slot in grafted.slots:
        assert grafted.slot(slot).seed.scale.grad.abs() > 0


def test_seeds_change_the_output_once_blended(sample, grown):
    assert not torch.allclose(output(grown, sample.inputs()), sample.make().eval()(sample.inputs()))


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deep", "pickle"],
)
def test_deep_copies_are_complete_and_independent(sample, grown, copied):
    inputs = sample.inputs()
    before = output(grown, inputs)
    twin = copied(grown)
    assert torch.equal(output(twin, inputs), before)
    assert twin.seed_reports() == grown.seed_reports()
    twin.prune_live()
    nn.init.zeros_(twin.slot("r0c0").seed.scale)
    assert not torch.equal(output(twin, inputs), before)
    assert torch.equal(output(grown, inputs), before)


def test_a_new_graft_that_loads_a_state_dict_is_the_same(sample, grown):
    stored = io.BytesIO()
    torch.save(grown.state_dict(), stored)
    stored.seek(0)
    fresh = graft(sample.make(), sample.sites)
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    inputs = sample.inputs()
    assert torch.equal(output(fresh.eval(), inputs), output(grown, inputs))
    assert fresh.seed_reports() == grown.seed_reports()


def test_snapshots_restore_a_graft(sample, grown):
    inputs = sample.inputs()
    before, snapshot = output(grown, inputs), grown.snapshot()
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    epoch(grown, inputs)
    optimizer.step()
    grown.prune_live()
    assert not torch.equal(output(grown.eval(), inputs), before)
    grown.restore(snapshot)
    assert torch.equal(output(grown, inputs), before)


def test_counterfactuals_equal_separate_passes(sample, grown):
    inputs = sample.inputs()
    first, second, third = grown.slots
    disabled = [frozenset(), *map(frozenset, ({first}, {second}, {third}, {first, third}))]
    disabled += [frozenset(grown.slots), frozenset({second})]
    with torch.no_grad():
        found = grown.counterfactuals(inputs, disabled)
        assert torch.equal(found[0], grown(inputs))
        for off, one in zip(disabled, found, strict=True):
            row = torch.tensor([0.0 if slot in off else torch.nan for slot in grown.slots])
            alpha = row.expand(inputs.shape[sample.batch_axis], -1)
            torch.testing.assert_close(one, grown(inputs, alpha=alpha), rtol=1e-4, atol=1e-5)
        assert grown.counterfactuals(inputs, []).shape == (0, *found.shape[1:])


def test_overrides_differ_from_sample_to_sample(sample, grown):
    inputs, axis = sample.inputs(), sample.batch_axis
    with torch.no_grad():
        full = grown(inputs)
        none = grown.counterfactuals(inputs, [frozenset(grown.slots)])[0]
        alpha = torch.full((inputs.shape[axis], 3), torch.nan)
        alpha[1] = 0.0
        mixed = grown(inputs, alpha=alpha)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(mixed.select(axis, 0), full.select(axis, 0), **close)
    torch.testing.assert_close(mixed.select(axis, 1), none.select(axis, 1), **close)
    with pytest.raises(KasminaError, match=r"alpha has shape \(4, 2\)"):
        grown(inputs, alpha=torch.zeros(4, 2))


def test_autocast_keeps_the_models_dtype(sample, grown):
    inputs, plain = sample.inputs(), sample.make().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grown.train()
        result = grown(inputs)
        assert result.dtype == plain(inputs).dtype
        result.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in grown.parameters())


def calls(model: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    seen: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda module, *_: seen.append(module))
    return seen


def test_counterfactuals_compute_a_shared_prefix_once():
    sample = SAMPLE_MODELS["resnet18"]
    grafted = graft(sample.make(), {"r0c0": "layer1", "r0c1": "layer4"})
    inputs = sample.inputs()
    grafted.run_example(inputs)
    for slot in grafted.slots:
        raise_seed(grafted, slot, SeedStage.HOLDING, Blueprint.NORM, inputs)
    grafted.eval()
    ran = calls(grafted.model.layer2, nn.Conv2d)
    last, first = frozenset({"r0c1"}), frozenset({"r0c0"})
    with torch.no_grad():
        grafted.counterfactuals(inputs, [frozenset(), last, last])
        once = len(ran)
        assert once == 5
        grafted.counterfactuals(inputs, [frozenset(), last, first])
    assert len(ran) == 3 * once


class Inplace(nn.Module):
    """Writes into what its submodules return, as many models do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, inputs):
        hidden = self.first(inputs)
        hidden += 1.0
        other = self.second(hidden)
        other *= 2.0
        other = nn.functional.hardswish(other, inplace=True)
        return self.third(other).mul_(0.5).add_(hidden)


@pytest.mark.parametrize("stage", [SeedStage.TRAINING, SeedStage.HOLDING])
def test_counterfactuals_of_models_that_modify_outputs_in_place(stage):
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 6, 6)
    model = Inplace()
    plain = copy.deepcopy(model)
    grafted = graft(model, {"r0c0": "first", "r0c1": "second", "r0c2": "third"})
    grafted.run_example(inputs)
    for slot in grafted.slots:
        raise_seed(grafted, slot, stage, Blueprint.CONV_SMALL, inputs)
    grafted.eval()
    disabled = [frozenset(), *map(frozenset, ({"r0c2"}, {"r0c0"}, {"r0c1", "r0c2"}, {"r0c1"}))]
    with torch.no_grad():
        found = grafted.counterfactuals(inputs, disabled)
        for off, one in zip(disabled, found, strict=True):
            row = torch.tensor([0.0 if slot in off else torch.nan for slot in grafted.slots])
            torch.testing.assert_close(one, grafted(inputs, alpha=row.expand(2, -1)))
        everything = grafted.counterfactuals(inputs, [frozenset(grafted.slots)])[0]
        torch.testing.assert_close(everything, plain(inputs))


def test_activations_are_inferred_from_the_first_pass():
    sample = SAMPLE_MODELS["resnet18"]
    grafted = graft(sample.make(), {"r0c0": "layer2", "r0c1": "fc"})
    assert grafted.slot("r0c0").activations is None
    command = SeedCommand(slot="r0c0", command=Germinate(blueprint=Blueprint.NORM))
    refused = grafted.apply_command(command)
    assert not refused.accepted
    assert "run one forward pass" in refused.reason
    grafted(sample.inputs())
    assert grafted.slot("r0c0").activations == ActivationSpec.maps(128)
    assert grafted.slot("r0c1").activations == ActivationSpec.features(4)
    assert grafted.apply_command(command).accepted
    wrong = grafted.apply_command(
        SeedCommand(slot="r0c1", command=Germinate(blueprint=Blueprint.CONV_LIGHT))
    )
    assert "'conv_light' does not fit a slot of topology 'mlp'" in wrong.reason


def test_example_inputs_change_no_statistics_and_no_modes():
    sample = SAMPLE_MODELS["resnet18"]
    model = sample.make()
    model.layer2.eval()
    before = copy.deepcopy(model.state_dict())
    graft(model, sample.sites, example_inputs=sample.inputs())
    assert model.training
    assert not model.layer2.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_new_seeds_have_the_models_dtype():
    sample = SAMPLE_MODELS["transformer_encoder"]
    grafted = graft(sample.make().double(), {"r0c0": "layers.0"})
    grafted(sample.inputs().double())
    give(grafted, "r0c0", Germinate(blueprint=Blueprint.MLP))
    assert {p.dtype for p in grafted.parameters()} == {torch.float64}


def test_attributes_of_the_model_are_read_through_the_wrapper():
    grafted = graft(SAMPLE_MODELS["resnet18"].make(), {"r0c0": "layer2"})
    assert grafted.fc is grafted.model.fc
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        grafted.nothing  # noqa: B018 - the look-up is the test


def test_max_seeds_limits_a_grafted_model():
    sample = SAMPLE_MODELS["resnet18"]
    grafted = graft(sample.make(), sample.sites, example_inputs=sample.inputs(), max_seeds=1)
    give(grafted, "r0c0", Germinate(blueprint=Blueprint.NORM))
    refused = grafted.apply_command(
        SeedCommand(slot="r0c1", command=Germinate(blueprint=Blueprint.NORM))
    )
    assert "1 seeds" in refused.reason


def test_causal_activations_are_given_by_a_slot_site():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 8), nn.LayerNorm(8))
    tokens = torch.randint(7, (2, 6))
    causal = SlotSite("0", ActivationSpec.tokens(8, causal=True))
    for site, leaks in ((causal, False), ("0", True)):
        grafted = graft(copy.deepcopy(model), {"r0c0": site}, example_inputs=tokens)
        raise_seed(grafted, "r0c0", SeedStage.HOLDING, Blueprint.ATTENTION, tokens)
        grafted.eval()
        changed = tokens.clone()
        changed[:, -1] = (changed[:, -1] + 1) % 7
        earlier = [output(grafted, each)[:, :-1] for each in (tokens, changed)]
        assert torch.equal(*earlier) is not leaks


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.also = self.shared
        self.activation = nn.ReLU()
        self.own = nn.Linear(4, 4)
        self.members = nn.ModuleList([nn.Linear(4, 4)])
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, inputs):
        hidden = self.activation(self.shared(inputs))
        hidden = self.activation(self.own(hidden))
        return self.attention(hidden, hidden, hidden)[0]


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("atention", r"no submodule 'atention'; did you mean 'attention'\?"),
        ("xyz", "no submodule 'xyz'; there are shared, "),
        ("shared", r"'shared' is shared \(also 'also'\)"),
        ("members", "'members' is a ModuleList, which is never run"),
        (
            SlotSite("activation", ActivationSpec.tokens(4)),
            "'activation' runs several times in one forward pass",
        ),
        (
            "attention",
            (
                r"'attention' returns a tuple; a slot takes one tensor, so choose a submodule that "
                r"returns one, or name an element of it, such as SlotSite\('name', output=0\)"
            ),
        ),
        (
            SlotSite("attention", output=2),
            "'attention' returns a tuple of 2 elements, which has no element 2",
        ),
        (SlotSite("attention", output="hidden"), "which has no element 'hidden'"),
        (SlotSite("own", output=0), "'own' returns one tensor, which has no element 0; leave"),
    ],
)
def test_submodules_that_cannot_have_a_slot_are_refused(site, message):
    inputs = torch.randn(2, 3, 4)
    with pytest.raises(KasminaError, match=message):
        graft(Twice(), {"r0c0": site}, example_inputs=inputs)


class Returns(nn.Module):
    def __init__(self, made: torch.Tensor) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.made = made

    def forward(self, _inputs):
        return self.inner(self.made)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (torch.zeros(2, 3, 4), r"'inner' returns \(2, 3, 4\), which may be signals"),
        (torch.zeros(2, 3, 4, 5, 6, 7), "'inner' returns 6 axes"),
        (
            torch.zeros(2, 3, 4, 5),
            (
                r"'inner' returns \(2, 3, 4, 5\), which may have its channels second or last; say "
                r"which with ActivationSpec.maps\(3\) or "
                r"ActivationSpec.maps\(5, layout='channels_last'\)"
            ),
        ),
        (torch.zeros(2, 3, 4, 5, 6), r"channels second or last; .*maps\(3, dimensions=3\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "returns torch.int64; a slot takes floating-point"),
        (
            {"logits": torch.zeros(2)},
            r"returns a dict; a slot takes one tensor, .*SlotSite\('name', output='logits'\)",
        ),
    ],
)
def test_outputs_that_no_slot_can_take_are_refused(made, message):
    with pytest.raises(KasminaError, match=message):
        graft(Returns(made), {"r0c0": "inner"}, example_inputs=torch.zeros(1))


def test_a_change_of_the_number_of_channels_is_refused():
    grafted = graft(nn.Sequential(nn.Identity()), {"r0c0": "0"})
    grafted(torch.zeros(2, 4))
    with pytest.raises(KasminaError, match=r"slot 'r0c0' holds \[B, 4\], and was given \(2, 5\)"):
        grafted(torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({}, "name at least one"),
        ({"left": "layer1"}, "'left' is not a slot id"),
        ({"r0c0": "layer1", "r0c1": "layer1"}, "'layer1' was given two slots"),
        (["layer1"], r"sites are a list; give slot ids and submodules, such as \{'r0c0'"),
        ("layer1", "sites are a str; give slot ids"),
        ({"r0c0": torch.nn.ReLU()}, "slot 'r0c0' was given a ReLU; give the submodule's name"),
        ({"r0c0": 1}, "slot 'r0c0' was given a int; give the submodule's name"),
    ],
)
def test_invalid_sites_are_refused(places, message):
    with pytest.raises(KasminaError, match=message):
        graft(SAMPLE_MODELS["resnet18"].make(), places)


def test_a_second_graft_is_refused():
    grafted = graft(SAMPLE_MODELS["resnet18"].make(), {"r0c0": "layer1"})
    with pytest.raises(KasminaError, match="has slots already"):
        graft(grafted, {"r0c1": "model.layer2"})


def test_activations_are_inferred_in_the_first_pass_that_reaches_the_slot():
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.extra = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, inputs):
            hidden = self.main(inputs)
            return self.extra(hidden) if self.training else hidden

    grafted = graft(
        Auxiliary(), {"r0c0": "main", "r0c1": "extra"}, example_inputs=torch.zeros(2, 4)
    )
    assert grafted.slot("r0c1").activations is None
    grafted.train()(torch.zeros(2, 4))
    assert grafted.slot("r0c1").activations.topology is Topology.MLP


def test_seeds_leave_no_hooks_and_release_removes_all():
    sample = SAMPLE_MODELS["resnet18"]
    model = sample.make()
    grafted = graft(model, sample.sites, example_inputs=sample.inputs(), rng_seed=3)
    for _ in range(3):
        give(grafted, "r0c0", Germinate(blueprint=Blueprint.NORM))
        give(grafted, "r0c0", Advance())
        grafted.prune_live()
        for _ in range(7):
            grafted.tick()
    hooks = [hook for module in grafted.modules() for hook in module._forward_hooks.values()]
    assert len(hooks) == 3
    assert grafted.release() is model
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    "inputs", ["picture", 3, torch.zeros(2, 5), (torch.zeros(2, 4), torch.zeros(2, 4)), {}]
)
def test_example_inputs_that_fail_leave_the_model_unchanged(inputs):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    with pytest.raises(
        KasminaError, match="the Sequential does not run on the example_in"
    ) as caught:
        graft(model, {"r0c0": "0"}, example_inputs=inputs)
    assert "\n" not in str(caught.value)
    assert not any(module._forward_hooks for module in model.modules())
    assert graft(model, {"r0c0": "0"}, example_inputs=torch.zeros(2, 4)).slots
