"""Harvests are plain PyTorch: the same outputs without slots and without Esper."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import fx, nn

from esper_kasmina import (
    BLUEPRINTS,
    ActivationSpec,
    KasminaError,
    Schedule,
    SeedSlot,
    build_host,
    graft,
    grow,
    harvest,
    seed_slots,
)
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    Germinate,
    HostOptions,
    MLPHostSpec,
    SeedStage,
    Topology,
    TransformerHostSpec,
)

from .lifecycle_helpers import give, raise_seed
from .sample_models import SAMPLE_MODELS

SPECS = {
    "signal": CNNHostSpec(input_shape=(1, 16), classes=3, widths=(8, 8), pools=(True, False)),
    "image": CNNHostSpec(input_shape=(3, 8, 8), classes=3, widths=(8, 8), pools=(True, False)),
    "mlp": MLPHostSpec(input_shape=(1, 16), classes=3, widths=(8, 8)),
    "gpt": TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=4, block=12),
}
STYLES = (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE)


def inputs_for(spec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    if isinstance(spec, TransformerHostSpec):
        return torch.randint(spec.vocabulary, (4, 9), generator=generator)
    return torch.randn(4, *spec.input_shape, generator=generator)


def grown(spec, blueprint, style):
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    raise_seed(host, "r0c0", SeedStage.FOSSILIZED, blueprint, inputs_for(spec), style=style)
    return host


def modules_not_of_torch(model: nn.Module) -> set[str]:
    return {
        type(module).__module__
        for module in model.modules()
        if type(module).__module__.startswith("esper") or isinstance(module, SeedSlot)
    }


CASES = [
    pytest.param(spec, blueprint, style, id=f"{name}-{blueprint}-{style.name.lower()}")
    for name, spec in SPECS.items()
    for blueprint in BLUEPRINTS[spec.topology]
    for style in STYLES
]


@pytest.mark.parametrize(("spec", "blueprint", "style"), CASES)
def test_the_harvest_of_a_host_is_a_graph_with_the_same_outputs(spec, blueprint, style):
    host = grown(spec, blueprint, style)
    plain, inputs = harvest(host), inputs_for(spec)
    assert isinstance(plain, fx.GraphModule)
    assert plain.training
    assert modules_not_of_torch(plain) == set()
    kept = host.parameter_counts()
    assert sum(p.numel() for p in plain.parameters()) == kept.host + kept.fossil
    for training in (False, True):  # evaluation first: training moves the statistics
        host.train(training)
        plain.train(training)
        torch.testing.assert_close(plain(inputs), host(inputs))
    torch.testing.assert_close(plain.eval()(inputs), host.eval()(inputs))


@pytest.mark.parametrize("name", SPECS)
def test_a_harvest_shares_no_tensors_and_can_be_trained(name):
    spec = SPECS[name]
    host = grown(spec, next(iter(BLUEPRINTS[spec.topology])), BlendStyle.GATED_GATE)
    inputs = inputs_for(spec)
    host.eval()
    before, plain = host(inputs).detach(), harvest(host)
    assert not {id(p) for p in plain.parameters()} & {id(p) for p in host.parameters()}
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    plain(inputs).square().mean().backward()
    assert all(p.grad is not None for p in plain.parameters())
    optimizer.step()
    assert not torch.equal(plain(inputs), before)
    assert torch.equal(host(inputs), before)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "transformer_encoder"])
def test_the_harvest_of_a_grafted_model_has_the_models_class(name):
    sample = SAMPLE_MODELS[name]
    inputs = sample.inputs()
    grafted = graft(sample.make(), sample.sites, example_inputs=inputs)
    for slot, style in zip(grafted.slots, STYLES, strict=True):
        raise_seed(grafted, slot, SeedStage.FOSSILIZED, sample.blueprint, inputs, style=style)
    plain = harvest(grafted)
    assert type(plain) is type(grafted.model)
    assert modules_not_of_torch(plain) == set()
    counts = grafted.parameter_counts()
    assert sum(p.numel() for p in plain.parameters()) == counts.host + counts.fossil
    for training in (False, True):
        for model in (grafted, plain):
            model.train(training)
        torch.testing.assert_close(plain(inputs), grafted(inputs))
    copies = (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain)))
    for twin in copies:
        torch.testing.assert_close(twin.eval()(inputs), plain.eval()(inputs))
        # What is registered later must not take the place of what makes the seed run.
        for module in twin.modules():
            for _ in range(40):
                module.register_forward_hook(lambda *_: None)
        torch.testing.assert_close(twin(inputs), plain(inputs))


def test_a_harvest_does_not_change_the_grafted_model():
    sample = SAMPLE_MODELS["resnet18"]
    inputs = sample.inputs()
    grafted = graft(sample.make(), sample.sites, example_inputs=inputs)
    raise_seed(grafted, "r0c1", SeedStage.FOSSILIZED, Blueprint.NORM, inputs)
    before = grafted.eval()(inputs)
    harvest(grafted)
    assert torch.equal(grafted(inputs), before)
    assert len(seed_slots(grafted)) == 3


LOADS = """
import sys, pickle, torch

class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("esper"):
            raise ImportError(name)

sys.meta_path.insert(0, Closed())
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        plain, inputs, outputs = pickle.load(file)
    torch.testing.assert_close(plain(inputs), outputs)
    print("loaded", sorted(name for name in sys.modules if name.startswith("esper")))
"""


@pytest.mark.slow
def test_harvests_are_loaded_in_a_process_without_esper(tmp_path):
    inputs = SAMPLE_MODELS["resnet18"].inputs()
    grafted = graft(
        SAMPLE_MODELS["resnet18"].make(), SAMPLE_MODELS["resnet18"].sites, example_inputs=inputs
    )
    raise_seed(grafted, "r0c1", SeedStage.FOSSILIZED, Blueprint.DEPTHWISE, inputs)
    hosts = {"resnet18": (grafted, inputs)}
    for name, spec in SPECS.items():
        blueprint = next(iter(BLUEPRINTS[spec.topology]))
        hosts[name] = (grown(spec, blueprint, BlendStyle.GATED_GATE), inputs_for(spec))
    for name, (host, example) in hosts.items():
        plain = harvest(host).eval()
        stored = pickle.dumps((plain, example, plain(example).detach()))
        (tmp_path / name).write_bytes(stored)
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *(tmp_path / name for name in hosts)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["loaded []"] * len(hosts), done.stderr


class Own(nn.Module):
    """A user's model with slots written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 8, 3, padding=1)
        self.slots = nn.ModuleList(
            SeedSlot(f"r0c{i}", ActivationSpec.maps(8, dimensions=1)) for i in range(2)
        )
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        hidden = self.stem(inputs)
        for slot in self.slots:
            hidden = slot(hidden)
        return self.head(hidden.mean(2))


def test_slots_in_a_models_own_code_become_plain_modules():
    torch.manual_seed(0)
    model, inputs = Own(), torch.randn(3, 1, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(trained):
        optimizer.zero_grad()
        trained(inputs).square().mean().backward()
        optimizer.step()

    keep = Schedule(training=1, holding=1, min_contribution=-100.0)
    grow(
        *(model, "r0c0", Blueprint.CONV_LIGHT, optimizer),
        train=train,
        evaluate=lambda _: 0.0,
        schedule=keep,
    )
    with pytest.raises(KasminaError, match="the Own has slots in its own code, so no inputs"):
        harvest(model)
    plain = harvest(model, example_inputs=inputs).eval()
    torch.testing.assert_close(harvest(model, verify=False).eval()(inputs), plain(inputs))
    assert type(plain) is Own
    assert modules_not_of_torch(plain.slots) == set()
    assert isinstance(plain.slots[1], nn.Identity)
    torch.testing.assert_close(plain(inputs), model.eval()(inputs))


@pytest.mark.parametrize("stage", [SeedStage.GERMINATED, SeedStage.TRAINING])
def test_seeds_without_effect_are_left_out(stage):
    spec = SPECS["image"]
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    inputs = inputs_for(spec)
    raise_seed(host, "r0c1", stage, Blueprint.NORM, inputs)
    torch.testing.assert_close(harvest(host).eval()(inputs), host.eval()(inputs))


def test_live_seeds_with_effect_are_refused():
    spec = SPECS["image"]
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    inputs = inputs_for(spec)
    raise_seed(host, "r0c1", SeedStage.HOLDING, Blueprint.NORM, inputs)
    with pytest.raises(KasminaError, match="'r0c1' is HOLDING and changes the output; fossilize"):
        harvest(host)
    plain = harvest(host, drop_live=True).eval()
    with torch.no_grad():
        without = host.eval().counterfactuals(inputs, [frozenset({"r0c1"})])[0]
        torch.testing.assert_close(plain(inputs), without)


def test_a_model_without_slots_is_refused():
    with pytest.raises(KasminaError, match="has no slots to harvest"):
        harvest(nn.Linear(2, 2))


def test_hosts_of_every_topology_are_harvested():
    assert {spec.topology for spec in SPECS.values()} == set(Topology)


def test_a_germinated_seed_is_left_out():
    spec = SPECS["mlp"]
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    give(host, "r0c0", Germinate(blueprint=Blueprint.NORM))
    give(host, "r0c0", Advance())
    assert sum(p.numel() for p in harvest(host).parameters()) == host.parameter_counts().host
