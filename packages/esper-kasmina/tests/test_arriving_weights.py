"""Ways of loading weights: a slot's alpha and strength never have uninitialised values."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_model_state_dict

from esper_kasmina import ActivationSpec, SeedSlot, SlotSite, build_host, graft
from esper_leyline import (
    BlendStyle,
    Blueprint,
    Germinate,
    HostOptions,
    SeedStage,
)

from .host_specs import HOST_SPECS
from .lifecycle_helpers import give, raise_seed

TOKENS = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))
STAGES = (
    None,
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
    SeedStage.FOSSILIZED,
)
KINDS = [
    pytest.param(kind, blueprint, id=f"{kind.topology.value}-{blueprint}")
    for kind, blueprint in (
        (ActivationSpec.maps(8, dimensions=1), Blueprint.CONV_LIGHT),
        (ActivationSpec.tokens(5), Blueprint.FLEX_ATTENTION),  # has a table that is no weight
    )
]


class Net(nn.Module):
    def __init__(self, device=None) -> None:
        super().__init__()
        self.first = nn.Conv1d(5, 8, 3, padding=1, device=device)
        self.norm = nn.BatchNorm1d(8, device=device)
        self.last = nn.Conv1d(8, 2, 1, device=device)

    def forward(self, inputs):
        return self.last(self.norm(self.first(inputs.transpose(1, 2))))


def make(kind, device=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(8, 8, 3, padding=1, device=device), nn.Tanh())
    if kind.channels == 5:
        model = nn.Sequential(nn.Linear(8, 5, device=device), nn.Tanh())
    return graft(model, {"r0c0": SlotSite("0", kind)})


def inputs_of(kind):
    return TOKENS if kind.channels == 5 else TOKENS.transpose(1, 2)


def grown(kind, blueprint, stage, *, style=BlendStyle.GATED_GATE):
    grafted = make(kind)
    if stage is not None:
        raise_seed(grafted, "r0c0", stage, blueprint, inputs_of(kind), style=style)
    return grafted.eval()


@pytest.fixture(autouse=True)
def _used_memory():
    """Leaves memory of all small sizes behind that holds numbers."""
    used = [
        torch.full((size,), float("nan")) for size in (1, 2, 4, 5, 8, 25, 64, 192) for _ in "abc"
    ]
    del used


def assert_same(loaded, original, kind):
    tensors = {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
    assert not [name for name, tensor in tensors.items() if tensor.is_meta]
    slot = loaded.slot("r0c0")
    assert float(slot._strength) == slot.alpha == original.slot("r0c0").alpha
    assert slot.report() == original.slot("r0c0").report()
    assert torch.equal(loaded.eval()(inputs_of(kind)), original(inputs_of(kind)))
    loaded.train()(inputs_of(kind)).sum().backward()
    slot.prune_now()
    for _ in range(7):
        slot.tick()
    if slot.stage is SeedStage.DORMANT:
        raise_seed(loaded, "r0c0", SeedStage.HOLDING, Blueprint.NORM, inputs_of(kind))
        assert loaded(inputs_of(kind)).isfinite().all()


def assigned_on_meta(kind, state):
    model = make(kind, "meta")
    model.load_state_dict(state, assign=True)
    return model


def grafted_under_meta(kind, state):
    with torch.device("meta"):
        model = make(kind)
    model.load_state_dict(state, assign=True)
    return model


def emptied(kind, state):
    model = make(kind, "meta").to_empty(device="cpu")
    model.load_state_dict(state)
    return model


def emptied_under_meta(kind, state):
    with torch.device("meta"):
        model = make(kind)
    model.to_empty(device="cpu").load_state_dict(state)
    return model


def assigned_over_another_seed(kind, state):
    model = grown(kind, Blueprint.NORM, SeedStage.HOLDING)
    model.load_state_dict(state, assign=True)
    return model


def loaded_over_another_seed(kind, state):
    model = grown(kind, Blueprint.NORM, SeedStage.TRAINING)
    assert str(model.load_state_dict(state, strict=False)) == "<All keys matched successfully>"
    return model


def grown_on_meta_and_assigned(kind, state):
    """Where the seed is there already, on ``meta`` as well."""
    model = make(kind)
    model.load_state_dict(state)
    model.to("meta").load_state_dict(state, assign=True)
    return model


WAYS = (
    assigned_on_meta,
    grafted_under_meta,
    emptied,
    emptied_under_meta,
    assigned_over_another_seed,
    loaded_over_another_seed,
    grown_on_meta_and_assigned,
)


@pytest.mark.parametrize(("kind", "blueprint"), KINDS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_state_dicts_are_loaded_in_every_way(way, stage, kind, blueprint):
    original = grown(kind, blueprint, stage)
    assert_same(way(kind, copy.deepcopy(original.state_dict())), original, kind)


@pytest.mark.parametrize(("kind", "blueprint"), KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_safetensors_copies_and_pickles_are_loaded(stage, kind, blueprint, tmp_path):
    original = grown(kind, blueprint, stage)
    save_file(original.state_dict(), tmp_path / "state.safetensors")
    loaded = make(kind)
    loaded.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert_same(loaded, original, kind)
    save_model(original, str(tmp_path / "model.safetensors"))
    loaded = make(kind)
    load_model(loaded, str(tmp_path / "model.safetensors"))
    assert_same(loaded, original, kind)
    assert_same(copy.deepcopy(original), original, kind)
    assert_same(pickle.loads(pickle.dumps(original)), original, kind)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")  # torch 2.10 warns of itself
@pytest.mark.parametrize(("kind", "blueprint"), KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_distributed_checkpoint_is_loaded(stage, kind, blueprint, tmp_path):
    """It reads what the model has, so a fresh one reads the lifecycle first, then the seeds."""
    original = grown(kind, blueprint, stage)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        checkpoint.save({"model": get_model_state_dict(original)}, checkpoint_id=tmp_path)
        loaded = make(kind)
        for strict in (False, True):
            state = {"model": get_model_state_dict(loaded)}
            checkpoint.load(state, checkpoint_id=tmp_path)
            loaded.load_state_dict(state["model"], strict=strict)
    assert_same(loaded, original, kind)


@pytest.mark.parametrize(("kind", "blueprint"), KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_model_on_the_meta_device_is_initialised_after_to_empty(stage, kind, blueprint):
    model = grown(kind, blueprint, stage)
    slopes = {n: b.clone() for n, b in model.named_buffers() if n.endswith("slopes")}
    model.to("meta").to_empty(device="cpu")
    slot = model.slot("r0c0")
    assert float(slot._strength) == slot.alpha
    assert all(
        torch.equal(dict(model.named_buffers())[name], value) for name, value in slopes.items()
    )
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    assert float(slot._strength) == slot.alpha
    assert all(tensor.isfinite().all() for tensor in (*model.parameters(), *model.buffers()))
    if slot.seed is not None:
        assert not slot.seed.scale.any()
        with slot.held_out():
            without = model(inputs_of(kind))
        assert torch.equal(model(inputs_of(kind)), without)


class Own(nn.Module):
    """A model with a slot in its own code, which follows what it receives."""

    def __init__(self, device=None) -> None:
        super().__init__()
        self.first = nn.Linear(8, 5, device=device)
        self.slot = SeedSlot("r0c0", ActivationSpec.tokens(5))

    def forward(self, inputs):
        return self.slot(self.first(inputs))


def test_slots_work_in_modules_made_by_skip_init():
    model = nn.utils.skip_init(Own, device="cpu")
    assert float(model.slot._strength) == 0.0
    assert model.slot.apply_command(Germinate(blueprint=Blueprint.ATTENTION)).accepted
    assert not model.slot.seed.scale.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("passes", [0, 1])
def test_a_new_seed_has_the_device_and_dtype_of_assigned_weights(dtype, passes):
    state = Own().to(dtype).state_dict()
    with torch.device("meta"):
        model = Own()
    model.load_state_dict(state, assign=True)
    for _ in range(passes):
        model(TOKENS.to(dtype))
    assert model.slot.apply_command(Germinate(blueprint=Blueprint.ATTENTION)).accepted
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    if passes:
        assert {p.dtype for p in model.parameters()} == {dtype}


def test_a_new_seed_of_a_grafted_model_has_the_dtype_of_assigned_weights():
    kind = ActivationSpec.tokens(5)
    model = make(kind, "meta")
    model.load_state_dict(make(kind).to(torch.bfloat16).state_dict(), assign=True)
    give(model, "r0c0", Germinate(blueprint=Blueprint.ATTENTION))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["mnist1d_mlp", "cifar10", "gpt_small"])
def test_hosts_load_assigned_state_dicts(name):
    spec = HOST_SPECS[name]

    def build():
        return build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))

    original = build()
    give(original, spec.slots[0], Germinate(blueprint=Blueprint.NORM))
    with torch.device("meta"):
        model = build()
    model.load_state_dict(original.state_dict(), assign=True)
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    assert model.seed_reports() == original.seed_reports()
