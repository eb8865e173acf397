"""Blueprints that users register work as the built-in ones do, or are refused with the reason."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from esper_kasmina import (
    BLUEPRINTS,
    SLOT_KEY,
    ActivationSpec,
    KasminaError,
    Schedule,
    Seed,
    SeedSlot,
    graft,
    grow,
    harvest,
    parameter_groups,
    register_blueprint,
    sync_optimizer,
    unregister_blueprint,
)
from esper_leyline import (
    Advance,
    BlendAlgorithm,
    BlendStyle,
    Blueprint,
    Germinate,
    LifecycleRules,
    SeedCommand,
    SeedStage,
    Topology,
    registry,
)

from .lifecycle_helpers import epoch, give, raise_seed

NAME = "DILATED"


class Dilated(nn.Module):
    """A block with control over its own axes, as users write them."""

    def __init__(self, activations: ActivationSpec) -> None:
        super().__init__()
        width = activations.channels
        self.space = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=width)
        self.mix = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps):
        return self.norm(
            self.mix(torch.sin(self.space(maps))) + maps.mean(dim=(2, 3), keepdim=True)
        )


@pytest.fixture
def dilated():
    return register_blueprint(NAME, Dilated, topologies=Topology.CNN)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip


IMAGES = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def make_grafted():
    return graft(make_model(), {"r0c0": "0", "r0c1": "2"}, example_inputs=IMAGES)


def test_a_registered_blueprint_is_listed_and_counts_its_parameters(dilated):
    assert BLUEPRINTS[Topology.CNN][NAME] is dilated
    assert NAME not in BLUEPRINTS[Topology.MLP]
    kind = ActivationSpec.maps(8)
    assert dilated.count_parameters(kind) == Seed(NAME, kind).size == 169


@pytest.mark.parametrize("topology", list(Topology))
def test_built_in_blueprints_count_their_parameters(topology):
    kind = {
        Topology.CNN: ActivationSpec.maps(8),
        Topology.TRANSFORMER: ActivationSpec.tokens(8),
        Topology.MLP: ActivationSpec.features(8),
    }[topology]
    before = torch.get_rng_state()
    for blueprint, spec in BLUEPRINTS[topology].items():
        assert spec.count_parameters(kind) == Seed(blueprint, kind).size
    torch.set_rng_state(before)
    for spec in BLUEPRINTS[topology].values():
        spec.count_parameters(kind)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("style", BlendStyle)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_a_new_seed_is_the_identity_and_is_isolated(dilated, style, layout):
    slot = SeedSlot("r0c0", ActivationSpec.maps(5, layout=layout))
    before = torch.get_rng_state()
    assert slot.apply_command(Germinate(blueprint=NAME, style=style)).accepted
    assert torch.equal(torch.get_rng_state(), before)
    seed = slot.seed
    hidden = IMAGES[:, :1].expand(8, 5, 9, 9).movedim(1, -1 if layout == "channels_last" else 1)
    for training in (True, False):
        assert torch.equal(seed.train(training)(hidden), hidden)
    nn.init.constant_(seed.scale, 0.5)
    host = hidden.clone().requires_grad_()
    assert slot.apply_command(Advance()).accepted
    bare = hidden.clone().requires_grad_()
    slot.train()(host).square().sum().backward()
    bare.square().sum().backward()
    assert torch.equal(host.grad, bare.grad)


@settings(deadline=None, max_examples=25)
@given(
    width=st.integers(1, 6),
    hidden=st.integers(1, 5),
    nonlinearity=st.sampled_from([nn.Tanh, nn.GELU, nn.SiLU, nn.Softsign]),
    algorithm=st.sampled_from(BlendAlgorithm),
    topology=st.sampled_from([Topology.MLP, Topology.TRANSFORMER]),
)
def test_any_small_network_starts_as_the_identity_and_is_loaded_from_a_state_dict(
    width, hidden, nonlinearity, algorithm, topology
):
    def build(kind):
        return nn.Sequential(
            nn.Linear(kind.channels, hidden), nonlinearity(), nn.Linear(hidden, kind.channels)
        )

    register_blueprint("RANDOM", build, topologies=topology, replace=True)
    vectors = topology is Topology.MLP
    kind = ActivationSpec.features(width) if vectors else ActivationSpec.tokens(width)
    style = next(style for style in BlendStyle if style.algorithm is algorithm)
    slot, fresh = SeedSlot("r0c0", kind), SeedSlot("r0c0", kind, rng_seed=9)
    slot.build_in("RANDOM", style)
    given_ = torch.randn(4, width) if vectors else torch.randn(4, 3, width)
    assert torch.equal(slot(given_), given_)
    nn.init.constant_(slot.seed.scale, 0.7)
    fresh.load_state_dict(slot.state_dict())
    assert torch.equal(fresh(given_), slot(given_))
    assert fresh.report() == slot.report()
    assert fresh.report().blueprint == "RANDOM"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_a_seed_goes_through_all_stages_in_a_grafted_model_and_is_harvested(dilated):
    grafted = make_grafted()
    bare = make_model()
    raise_seed(grafted, "r0c0", SeedStage.TRAINING, NAME, IMAGES)
    assert torch.equal(grafted(IMAGES), bare(IMAGES))
    give(grafted, "r0c1", Germinate(blueprint=Blueprint.NORM))
    grafted.slot("r0c0").prune_now()
    grafted.slot("r0c1").prune_now()
    for _ in range(7):
        grafted.tick()
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, NAME, IMAGES, style=BlendStyle.GATED_GATE)
    grown = grafted.eval()(IMAGES)
    assert not torch.equal(grown, bare.eval()(IMAGES))
    plain = harvest(grafted)
    assert torch.equal(plain(IMAGES), grown)
    assert not any(isinstance(module, Dilated) for module in plain.modules())
    kinds = {event.blueprint for event in grafted.slot("r0c0").take_events()}
    assert kinds <= {NAME, None}
    assert torch.equal(torch.export.export(plain, (IMAGES,)).module()(IMAGES), grown)
    assert torch.equal(torch.jit.script(plain)(IMAGES), grown)


@pytest.mark.slow
def test_a_seed_of_a_registered_blueprint_is_compiled(dilated):
    grafted = make_grafted()
    raise_seed(grafted, "r0c0", SeedStage.BLENDING, NAME, IMAGES)
    compiled = torch.compile(grafted, backend="aot_eager")
    grafted.eval()
    torch.testing.assert_close(compiled(IMAGES), grafted(IMAGES))


def test_state_dicts_and_copies_hold_a_seed_of_a_registered_blueprint(dilated):
    grafted = make_grafted()
    raise_seed(grafted, "r0c0", SeedStage.BLENDING, NAME, IMAGES)
    for twin in (make_grafted(), copy.deepcopy(grafted)):
        twin.load_state_dict(grafted.state_dict())
        assert torch.equal(twin.eval()(IMAGES), grafted.eval()(IMAGES))
        assert twin.slot("r0c0").report() == grafted.slot("r0c0").report()
    snapshot = grafted.snapshot()
    epoch(grafted, IMAGES)
    grafted.restore(snapshot)
    assert grafted.slot("r0c0").state.blueprint == NAME


def test_a_state_dict_of_a_blueprint_that_is_not_registered_is_refused(dilated):
    grafted = make_grafted()
    raise_seed(grafted, "r0c0", SeedStage.BLENDING, NAME, IMAGES)
    state = grafted.state_dict()
    unregister_blueprint(NAME)
    fresh = make_grafted()
    with pytest.raises(
        KasminaError, match=r"unknown blueprint 'DILATED'; .* register_blueprint\('DIL"
    ):
        fresh.load_state_dict(state)
    assert fresh.slot("r0c0").stage is SeedStage.DORMANT


def test_grow_and_parameter_groups_take_a_registered_blueprint(dilated):
    grafted = make_grafted()
    labels = torch.arange(8) % 2
    optimizer = torch.optim.Adam(parameter_groups(grafted), lr=0.01)

    def train(model):
        model.train()
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(IMAGES), labels).backward()
            optimizer.step()

    @torch.no_grad()
    def evaluate(model):
        return -nn.functional.cross_entropy(model.eval()(IMAGES), labels).item()

    keep = Schedule(training=1, blending=1, holding=1, min_contribution=-9.0)
    growth = grow(grafted, "r0c0", NAME, optimizer, train, evaluate, schedule=keep)
    assert growth.fossilized
    assert growth.blueprint == NAME
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None, "r0c0"]
    sync_optimizer(optimizer, grafted)
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be called ''; give an ASCII Python identifier"),
        ("two words", "cannot be called 'two words'"),
        (3, "cannot be called 3"),
        (Blueprint.NORM, "'norm' is built in"),
        ("norm", "'norm' is built in; choose another name"),
        ("NOOP", "'noop' is built in"),
    ],
    ids=str,
)
def test_an_invalid_name_is_refused(name, reason):
    before = {topology: dict(specs) for topology, specs in BLUEPRINTS.items()}
    with pytest.raises(KasminaError, match=reason):
        register_blueprint(name, Dilated, topologies=Topology.CNN)
    assert before == {topology: dict(specs) for topology, specs in BLUEPRINTS.items()}


def test_a_taken_name_is_refused_unless_it_is_replaced(dilated):
    with pytest.raises(KasminaError, match=r"'DILATED' exists already; .* replace=True"):
        register_blueprint(NAME, Dilated, topologies=Topology.MLP)
    register_blueprint(NAME, Dilated, topologies=[Topology.MLP], replace=True)
    assert NAME not in BLUEPRINTS[Topology.CNN]
    assert NAME in BLUEPRINTS[Topology.MLP]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"build": nn.Identity(), "topologies": []}, r"topologies are \[\]; give at least one of"),
        ({"build": Dilated, "topologies": "cnn"}, "topologies are 'cnn'; give"),
        ({"build": Dilated, "topologies": 3}, "topologies are 3; give"),
        ({"build": 3, "topologies": Topology.CNN}, "build of blueprint 'X' is 3; give a function"),
        (
            {"build": Dilated, "topologies": Topology.CNN, "parameters": 3},
            "parameters of blueprint 'X' is 3; give a function",
        ),
    ],
    ids=["none", "text", "number", "build", "parameters"],
)
def test_invalid_arguments_are_refused(arguments, reason):
    with pytest.raises(KasminaError, match=reason):
        register_blueprint("X", **arguments)
    assert not any("X" in specs for specs in BLUEPRINTS.values())


def test_a_built_in_blueprint_cannot_be_removed():
    with pytest.raises(KasminaError, match="'norm' is built in and stays"):
        unregister_blueprint(Blueprint.NORM)
    unregister_blueprint("NEVER_THERE")


def test_a_plugin_cannot_take_the_name_of_a_built_in_blueprint(tmp_path, monkeypatch):
    metadata = tmp_path / "impostor-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: impostor\nVersion: 1.0\n", encoding="utf-8")
    entry_points = "[esper.blueprints]\nnorm = impostor:NORM\n"
    (metadata / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry._declared.cache_clear()
    try:
        slot = SeedSlot("r0c0", ActivationSpec.maps(8))
        assert slot.apply_command(Germinate(blueprint=Blueprint.NORM)).reason == (
            "a plugin adds a blueprint called 'norm', which is built in; uninstall it"
        )
        assert slot.apply_command(Germinate(blueprint=Blueprint.DEPTHWISE)).accepted
    finally:
        registry._declared.cache_clear()


class _Branching(nn.Linear):
    def forward(self, hidden):
        return super().forward(hidden if hidden.sum() > 0 else -hidden)


class _Attends(nn.Module):
    def __init__(self, *, causal):
        super().__init__()
        self.causal = causal

    def forward(self, tokens):
        return scaled_dot_product_attention(tokens, tokens, tokens, is_causal=self.causal)


def _fails(_kind):
    raise ZeroDivisionError("no\nchannels")


def _zeroed(kind):
    layer = nn.Linear(kind.channels, kind.channels)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


SHARED = nn.Linear(8, 8)
FAULTS = {
    "error": (_fails, r"cannot be built for \[B, 8\] \(ZeroDivisionError: no channels\)"),
    "no_module": (lambda kind: kind.channels, "builds a int; return an nn.Module"),
    "width": (lambda kind: nn.Linear(8, 4), r"turns \(3, 8\) into \(3, 4\); a branch keeps the s"),
    "broadcast": (lambda kind: nn.Linear(8, 1), r"turns \(3, 8\) into \(3, 1\)"),
    "input": (lambda kind: nn.Linear(4, 8), r"does not run on \(3, 8\) \(RuntimeError: .*mat1"),
    "tuple": (lambda kind: nn.LSTM(8, 8), "returns a tuple from its branch"),
    "in_place": (lambda kind: nn.ReLU(inplace=True), "start as the identity: its branch changes"),
    "infinite": (lambda kind: nn.Threshold(9.0, float("inf")), "identity: its branch returns"),
    "zeros": (_zeroed, "cannot learn: its new branch returns zeros"),
    "noise": (lambda kind: nn.Dropout(0.5), "draws random numbers in its forward pass"),
    "lazy": (lambda kind: nn.LazyLinear(8), "has layers whose size is not known yet"),
    "shared": (lambda kind: SHARED, "builds the same parameters again"),
    "tracing": (lambda kind: _Branching(8, 8), "torch.fx does not trace its branch"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_invalid_branch_is_refused_before_the_seed_germinates(fault):
    build, reason = FAULTS[fault]
    register_blueprint("FAULTY", build, topologies=Topology.MLP)
    slot = SeedSlot("r0c0", ActivationSpec.features(8))
    before = torch.get_rng_state()
    result = slot.apply_command(Germinate(blueprint="FAULTY"))
    assert not result.accepted
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KasminaError, match=f"blueprint 'FAULTY' .*{reason}"):
        slot.build_in("FAULTY", BlendStyle.LINEAR_ADD)
    assert slot.stage is SeedStage.DORMANT
    assert slot.germinations == 0


def test_a_branch_that_sees_later_tokens_is_refused_for_causal_activations():
    register_blueprint(
        "SEES", lambda kind: _Attends(causal=False), topologies=[Topology.TRANSFORMER]
    )
    register_blueprint(
        "BLINKERED", lambda kind: _Attends(causal=kind.causal), topologies=[Topology.TRANSFORMER]
    )
    for causal in (False, True):
        slot = SeedSlot("r0c0", ActivationSpec.tokens(8, causal=causal))
        result = slot.apply_command(Germinate(blueprint="SEES"))
        assert result.accepted is not causal
        assert not causal or "looks at later tokens" in result.reason
        slot = SeedSlot("r0c0", ActivationSpec.tokens(8, causal=causal))
        assert slot.apply_command(Germinate(blueprint="BLINKERED")).accepted


def test_a_wrong_number_of_parameters_is_refused():
    spec = register_blueprint(
        "COUNTED", Dilated, topologies=Topology.CNN, parameters=lambda kind: 7 * kind.channels
    )
    assert spec.count_parameters(ActivationSpec.maps(8)) == 57
    slot = SeedSlot("r0c0", ActivationSpec.maps(8), rules=LifecycleRules())
    result = slot.apply_command(Germinate(blueprint="COUNTED"))
    assert "has 168 parameters for [B, 8, H, W], and its 'parameters' says 56" in result.reason


def test_a_blueprint_of_another_topology_is_refused_by_name(dilated):
    slot = SeedSlot("r0c0", ActivationSpec.features(8))
    result = slot.apply_command(Germinate(blueprint=NAME))
    assert (
        "blueprint 'DILATED' does not fit a slot of topology 'mlp'; allowed: norm" in result.reason
    )


def test_a_command_with_a_registered_name_can_be_sent_as_json(dilated):
    adapter = TypeAdapter(SeedCommand)
    for blueprint in (NAME, Blueprint.DEPTHWISE):
        command = SeedCommand(slot="r0c0", command=Germinate(blueprint=blueprint))
        read = adapter.validate_json(adapter.dump_json(command))
        assert read == command


def test_another_default_dtype_is_accepted(dilated):
    torch.set_default_dtype(torch.float64)
    try:
        slot = SeedSlot("r0c0", ActivationSpec.maps(4))
        assert slot.apply_command(Germinate(blueprint=NAME)).accepted
    finally:
        torch.set_default_dtype(torch.float32)
