"""A slot on one element of what a submodule returns, before and after harvest."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import is_dataclass

import pytest
import torch
from torch import nn

from esper_kasmina import KasminaError, SlotSite, graft, harvest
from esper_leyline import Blueprint, Fossilize, SeedMeasurement, SeedStage

from .lifecycle_helpers import give, raise_seed

Pair = namedtuple("Pair", ["hidden", "extra"])


class NamedDict(OrderedDict):
    """A subclass of a dict, such as Hugging Face's ``ModelOutput``."""


class OddDict(dict):
    """A dict whose operators return plain dicts."""


class Inner(nn.Module):
    def __init__(self, wrap) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.wrap = wrap

    def forward(self, inputs):
        return self.wrap(self.linear(inputs))


def elements(output):
    if is_dataclass(output):
        return [output.hidden, output.extra]
    return list(output.values()) if isinstance(output, dict) else list(output)


class Model(nn.Module):
    """Keeps the type of what its inner module returned, and what it says besides numbers."""

    def __init__(self, wrap, read) -> None:
        super().__init__()
        self.inner = Inner(wrap)
        self.read = read

    def forward(self, inputs):
        returned = self.inner(inputs)
        self.kind = type(returned)
        self.rest = [each for each in elements(returned) if isinstance(each, str)]
        return self.read(returned)


def as_tuple(hidden):
    return hidden, "extra"


def as_list(hidden):
    return ["extra", hidden]


def as_pair(hidden):
    return Pair(hidden, "extra")


def as_dict(hidden):
    return {"hidden": hidden, "extra": "extra"}


def as_named_dict(hidden):
    return NamedDict(hidden=hidden, extra="extra")


def as_odd_dict(hidden):
    return OddDict(hidden=hidden, extra="extra")


class Wrap:
    """Puts the hidden state into a dataclass; a class, so that it can be pickled."""

    def __init__(self, record) -> None:
        self.record = record

    def __call__(self, hidden):
        return self.record(hidden=hidden, extra="extra")


def first(output):
    return output[0]


def last(output):
    return output[-1]


def by_key(output):
    return output["hidden"]


def by_field(output):
    return output.hidden


CASES = {
    "tuple": (as_tuple, first, 0),
    "list": (as_list, last, -1),
    "named tuple by position": (as_pair, first, 0),
    "named tuple by field": (as_pair, first, "hidden"),
    "dict": (as_dict, by_key, "hidden"),
    "dict of its own class": (as_named_dict, by_key, "hidden"),
}


@pytest.mark.parametrize(("wrap", "read", "key"), CASES.values(), ids=CASES)
def test_a_seed_changes_only_its_element_of_the_output(wrap, read, key):
    check(wrap, read, key)


def test_fields_of_a_dataclass_are_elements(tmp_path, monkeypatch):
    """The class is in a module that can be imported, because the graph imports it."""
    source = "from dataclasses import dataclass\n\n@dataclass\nclass Record:\n"
    (tmp_path / "users_records.py").write_text(f"{source}    hidden: object\n    extra: str\n")
    monkeypatch.syspath_prepend(tmp_path)
    record = importlib.import_module("users_records").Record
    check(Wrap(record), by_field, "hidden")


def test_a_harvest_refuses_a_dict_that_a_graph_cannot_build():
    torch.manual_seed(0)
    inputs = torch.randn(3, 4)
    grafted = graft(Model(as_odd_dict, by_key), {"r0c0": SlotSite("inner", output="hidden")})
    grafted(inputs)
    fossilize(grafted, inputs)
    assert grafted.model.kind is OddDict
    with pytest.raises(KasminaError, match="a harvest cannot return a OddDict from its graph"):
        harvest(grafted)


def fossilize(grafted, inputs):
    raise_seed(grafted, "r0c0", SeedStage.HOLDING, Blueprint.MLP, inputs)
    grafted.record_validation(50.0, [SeedMeasurement(slot="r0c0", contribution=1.0)])
    give(grafted, "r0c0", Fossilize())
    grafted.eval()


def check(wrap, read, key):
    torch.manual_seed(0)
    inputs = torch.randn(3, 4)
    plain = Model(wrap, read)
    before = plain(inputs)
    kind = plain.kind
    grafted = graft(copy.deepcopy(plain), {"r0c0": SlotSite("inner", output=key)})
    assert torch.equal(grafted(inputs), before)
    fossilize(grafted, inputs)
    grown = grafted(inputs)
    assert not torch.allclose(grown, before)
    assert (grafted.model.kind, grafted.model.rest) == (kind, ["extra"])
    for harvested in (harvest(grafted), pickle.loads(pickle.dumps(harvest(grafted)))):
        assert torch.equal(harvested(inputs), grown)
        assert (harvested.kind, harvested.rest) == (kind, ["extra"])


def test_an_element_that_is_not_a_tensor_is_refused():
    grafted = graft(Model(as_tuple, first), {"r0c0": SlotSite("inner", output=1)})
    with pytest.raises(KasminaError, match="returns a str; a slot takes one tensor"):
        grafted(torch.randn(3, 4))


def test_counterfactuals_replay_outputs_of_every_kind():
    torch.manual_seed(0)
    inputs = torch.randn(3, 4)
    for wrap, read, _ in CASES.values():
        model = nn.Sequential(Model(wrap, read), nn.Linear(4, 4), nn.ReLU())
        grafted = graft(model, {"r0c0": "1"}, example_inputs=inputs)
        raise_seed(grafted, "r0c0", SeedStage.HOLDING, Blueprint.MLP, inputs)
        grafted.eval()
        with torch.no_grad():
            both = grafted.counterfactuals(inputs, [frozenset(), frozenset({"r0c0"})])
            assert torch.equal(both[0], grafted(inputs))
            with grafted.slot("r0c0").held_out():
                assert torch.equal(both[1], grafted(inputs))
