"""A grafted model gives access to the model in it, and reports slots that no longer run."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.densenet import _DenseBlock

from esper_kasmina import ActivationSpec, KasminaError, SlotSite, graft, harvest
from esper_leyline import Blueprint, SeedStage

from .lifecycle_helpers import raise_seed

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 2)
        self.bonus = 0.0

    @property
    def broken(self):
        return self.conv.nothing_like_that

    @property
    def classes(self):
        return self.fc.out_features

    def forward(self, inputs):
        return self.fc(self.norm(self.conv(inputs)).mean((2, 3))) + self.bonus

    def generate(self, inputs):
        return self(inputs).argmax(1), self(inputs)


def grown(model, place="norm", stage=SeedStage.FOSSILIZED):
    grafted = graft(model, {"r0c0": place}, example_inputs=IMAGES)
    raise_seed(grafted, "r0c0", stage, Blueprint.CONV_LIGHT, IMAGES)
    return grafted.eval()


def test_a_new_head_is_set_in_the_model():
    grafted = grown(Net())
    grafted.fc = nn.Linear(8, 5)
    grafted.bonus = 1.0
    grafted.extra = nn.Linear(2, 2)
    grafted.register_buffer("table", torch.zeros(2))
    grafted.add_module("other", nn.ReLU())
    assert grafted(IMAGES).shape == (4, 5)
    assert grafted.model.fc is grafted.fc
    assert grafted.classes == 5
    assert grafted.model.bonus == 1.0
    keys = grafted.state_dict().keys()
    assert {"model.fc.weight", "model.extra.weight", "model.table"} <= keys
    assert all(key.startswith(("model.", "seed_slots.")) for key in keys)
    del grafted.extra, grafted.bonus
    assert not hasattr(grafted.model, "extra")
    grafted.set_submodule("fc", nn.Linear(8, 3))
    grafted.bonus = 0.0
    assert grafted.model(IMAGES).shape == (4, 3)
    assert {"fc", "slots", "bonus"} <= set(dir(grafted))


@pytest.mark.parametrize("name", ["model", "sites", "seed_slots"])
def test_model_sites_and_slots_cannot_be_replaced(name):
    grafted = grown(Net())
    with pytest.raises(KasminaError, match=f"{name} of a grafted model cannot be replaced"):
        setattr(grafted, name, nn.Linear(1, 1))


def test_items_length_and_iteration_are_the_models():
    layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    grafted = graft(layers, {"r0c0": "0"}, example_inputs=IMAGES)
    assert len(grafted) == 2
    assert grafted[0] is layers[0]
    assert list(grafted) == list(layers)
    assert layers[1] in grafted
    grafted[1] = nn.Tanh()
    assert isinstance(layers[1], nn.Tanh)
    del grafted[1]
    assert len(layers) == 1
    plain = graft(Net(), {"r0c0": "norm"})
    assert plain
    for use in (len, iter, lambda model: model[0], lambda model: 1 in model):
        with pytest.raises(TypeError, match="Net"):
            use(plain)


def test_the_model_itself_runs_with_its_seeds():
    model = Net()
    without = copy.deepcopy(model).eval()
    grafted = grown(model)
    assert grafted.model is model
    assert torch.equal(model(IMAGES), grafted(IMAGES))
    assert torch.equal(grafted.generate(IMAGES)[1], grafted(IMAGES))
    assert not torch.allclose(model(IMAGES), without(IMAGES))


@pytest.mark.parametrize("name", ["slots", "tick", "seed_slots", "restore"])
@pytest.mark.parametrize("kind", ["attribute", "module", "buffer", "method"])
def test_attributes_that_the_wrapper_would_hide_are_refused(name, kind):
    model = Net()
    if kind == "method":
        model.__class__ = type("Named", (Net,), {name: lambda _self: 1})
    else:
        made = {"attribute": 1, "module": nn.ReLU(), "buffer": torch.zeros(1)}[kind]
        (model.register_buffer if kind == "buffer" else model.__setattr__)(name, made)
    with pytest.raises(KasminaError, match=f"has too: '{name}'; rename"):
        graft(model, {"r0c0": "norm"})
    assert not any(module._forward_hooks for module in model.modules())


def test_an_attribute_called_model_is_read_from_the_inner_model():
    outer = nn.Module()
    outer.model = Net()
    outer.forward = outer.model.forward
    grafted = graft(outer, {"r0c0": "model.norm"}, example_inputs=IMAGES)
    assert grafted.model is outer
    assert grafted.model.model is outer.model


class Alpha(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, inputs, alpha=1.0):
        return self.conv(inputs) * alpha


def test_an_argument_alpha_of_the_model_is_passed_to_it():
    model = Alpha()
    grafted = graft(model, {"r0c0": "conv"}, example_inputs=IMAGES)
    assert torch.equal(grafted(IMAGES, alpha=3.0), model.conv(IMAGES) * 3.0)


class Faulty(Net):
    def forward(self, inputs):
        return super().forward(inputs) + self.forgotten


def test_attribute_errors_of_the_model_are_not_changed():
    with pytest.raises(AttributeError, match="'Faulty' object has no attribute 'forgotten'"):
        graft(Faulty(), {"r0c0": "norm"}, example_inputs=IMAGES)
    grafted = graft(Faulty(), {"r0c0": "norm"})
    with pytest.raises(AttributeError, match="'Faulty' object has no attribute 'forgotten'"):
        grafted(IMAGES)
    for name in ("broken", "nothing"):
        with pytest.raises(AttributeError) as bare:
            getattr(grafted.model, name)
        with pytest.raises(AttributeError) as wrapped:
            getattr(grafted, name)
        assert str(wrapped.value) == str(bare.value)


def converted(grafted):
    nn.SyncBatchNorm.convert_sync_batchnorm(grafted)


def replaced(grafted):
    grafted.norm = nn.BatchNorm2d(8)


def unhooked(grafted):
    grafted.model.norm._forward_hooks.clear()


def removed(grafted):
    grafted.model.norm = None


@pytest.mark.parametrize("change", [converted, replaced, unhooked, removed])
@pytest.mark.parametrize("stage", [SeedStage.TRAINING, SeedStage.FOSSILIZED])
def test_a_slot_whose_submodule_was_replaced_is_an_error_at_the_next_pass(change, stage):
    grafted = grown(Net(), stage=stage)
    change(grafted)
    message = rf"slot 'r0c0' \({stage.name}\) is lost: submodule 'norm' is now"
    for run in (grafted, grafted.model, grafted.generate):
        with pytest.raises(KasminaError, match=message):
            run(IMAGES)


def test_a_slot_whose_parent_was_replaced_is_an_error_at_the_next_pass():
    grafted = grown(nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1)), nn.ReLU()), "0.0")
    grafted[0] = nn.Sequential(nn.Conv2d(3, 8, 1))
    with pytest.raises(KasminaError, match=r"submodule '0\.0' is now a Conv2d without"):
        grafted(IMAGES)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens)[0]


def test_a_layer_that_is_not_called_is_an_error():
    place = SlotSite("attention.out_proj", ActivationSpec.tokens(8))
    grafted = graft(Attends(), {"r0c0": place})
    for model in (grafted, grafted):  # it does not give in
        with pytest.raises(KasminaError, match=r"did not run submodule 'attention.out_proj'"):
            model(torch.randn(2, 3, 8))
    grafted = graft(Attends(), {"r0c0": place}, example_inputs=torch.randn(2, 3, 8))
    raised = pytest.raises(KasminaError, match="so slot 'r0c0' does nothing there")
    with raised:
        raise_seed(grafted, "r0c0", SeedStage.HOLDING, Blueprint.LORA, torch.randn(2, 3, 8))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = _DenseBlock(2, 3, bn_size=2, growth_rate=4, drop_rate=0.0)
        self.head = nn.Conv2d(11, 2, 1)

    def forward(self, inputs):
        return self.head(self.block(inputs))


def test_a_container_with_its_own_forward_can_have_a_slot():
    grafted = grown(Dense(), "block")
    torch.testing.assert_close(harvest(grafted)(IMAGES), grafted(IMAGES))
    body = IntermediateLayerGetter(nn.Sequential(nn.Conv2d(3, 8, 1)), {"0": "out"})
    model = nn.Sequential(body)
    with pytest.raises(KasminaError, match="submodule '0' returns a OrderedDict"):
        graft(model, {"r0c0": "0"}, example_inputs=IMAGES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch 2.10 warns of itself
def test_names_are_looked_up_through_compiled_modules():
    compiled = torch.compile(Net(), backend="eager")
    grafted = grown(compiled, "norm")
    inner = nn.Sequential(torch.compile(nn.Sequential(nn.Conv2d(3, 8, 1)), backend="eager"))
    other = grown(inner, "0.0")
    with pytest.raises(KasminaError, match="no submodule 'nrm'; did you mean 'norm'"):
        graft(torch.compile(Net()), {"r0c0": "nrm"})
    eager = grafted.model._orig_mod
    torch.testing.assert_close(grafted(IMAGES), eager(IMAGES))
    plain = harvest(grafted)
    assert type(plain) is Net
    torch.testing.assert_close(plain(IMAGES), grafted(IMAGES))
    torch.testing.assert_close(harvest(other)(IMAGES), other(IMAGES))


def test_a_parallel_model_is_grafted_before_it_is_wrapped():
    with pytest.raises(KasminaError, match="is a DataParallel, which would not see the seeds"):
        graft(DataParallel(Net()), {"r0c0": "module.norm"})


def test_a_state_dict_of_slots_at_other_submodules_is_refused():
    stored = grown(Net(), "norm").state_dict()
    with pytest.raises(KasminaError, match=r"after submodule 'conv', .* of one after 'norm'"):
        graft(Net(), {"r0c0": "conv"}, example_inputs=IMAGES).load_state_dict(stored)
    same = graft(Net(), {"r0c0": "norm"})
    same.load_state_dict(stored)
    assert same.slot("r0c0").stage is SeedStage.FOSSILIZED
