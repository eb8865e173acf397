"""A harvest whose layers are replaced keeps its seeds, or names the seed that is lost."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from esper_kasmina import KasminaError, graft, harvest
from esper_leyline import Blueprint, SeedStage

from .lifecycle_helpers import raise_seed

ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))


class Adapter(nn.Module):
    """A low-rank adapter around a linear layer, as ``peft`` has it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, inputs, *args, **kwargs):
        return self.base_layer(inputs, *args, **kwargs) + self.up(self.down(inputs))

    def get_base_layer(self) -> nn.Linear:
        return self.base_layer


@torch.no_grad()
def merge_and_unload(model: nn.Module) -> nn.Module:
    """Replaces each adapter by its base layer, which takes its weights over."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Adapter):
            module.base_layer.weight += module.up.weight @ module.down.weight
            model.set_submodule(name, module.get_base_layer())
    return model


class OwnLinear(nn.Linear):
    """A subclass of torch's layer."""


def own_to_torch(model: nn.Module) -> nn.Module:
    """Replaces each ``OwnLinear`` by torch's own layer with its weights."""
    for name, module in list(model.named_modules()):
        if isinstance(module, OwnLinear):
            plain = nn.Linear(module.in_features, module.out_features)
            plain.load_state_dict(module.state_dict())
            model.set_submodule(name, plain)
    return model


class ReadsWeight(nn.Module):
    """Reads the weight of the slot's layer, so that the layer has to stay under its name."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))

    def forward(self, rows):
        return self.block(rows) * self.block[1].weight


def grown(model: nn.Module, path: str) -> nn.Module:
    grafted = graft(model, {"r0c0": path}, example_inputs=ROWS)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.MLP_SMALL, ROWS)
    return grafted.eval()


@pytest.mark.parametrize(
    ("layer", "change"),
    [(Adapter(nn.Linear(4, 8)), merge_and_unload), (OwnLinear(4, 8), own_to_torch)],
    ids=["adapter", "subclass"],
)
def test_a_seed_after_a_layer_stays_when_the_layer_is_replaced(layer, change):
    plain = harvest(grown(nn.Sequential(copy.deepcopy(layer), nn.Tanh(), nn.Linear(8, 2)), "0"))
    before = plain(ROWS)
    changed = change(plain)
    assert not any(isinstance(each, Adapter | OwnLinear) for each in changed.modules())
    torch.testing.assert_close(changed(ROWS), before)


def convert(plain: nn.Module) -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(plain)


def replace_layer(plain: nn.Module) -> nn.Module:
    plain.block[1] = nn.BatchNorm1d(8)
    return plain


def replace_parent(plain: nn.Module) -> nn.Module:
    plain.block = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    return plain


def remove_hooks(plain: nn.Module) -> nn.Module:
    plain.block[1]._forward_hooks.clear()
    return plain


def shorten(plain: nn.Module) -> nn.Module:
    plain.block = plain.block[:1]
    return plain


CHANGES = [convert, replace_layer, replace_parent, remove_hooks, shorten]


@pytest.mark.parametrize("change", CHANGES)
def test_a_seed_that_was_lost_with_its_layer_is_named(change):
    plain = change(harvest(grown(ReadsWeight(), "block.1")).eval())
    with pytest.raises(
        KasminaError, match=r"the seed of slot 'r0c0' is lost: submodule 'block\.1'"
    ):
        plain(ROWS)


def unpickled(plain: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(plain))


@pytest.mark.parametrize("change", CHANGES)
def test_an_unpickled_harvest_names_a_seed_that_was_lost_with_its_layer(change):
    plain = unpickled(unpickled(harvest(grown(ReadsWeight(), "block.1")).eval()))
    plain(ROWS)
    change(plain)
    with pytest.raises(
        AssertionError, match=r"the seed of slot 'r0c0' is lost: submodule 'block\.1'.*remove\(\)"
    ):
        plain(ROWS)


def test_an_unpickled_harvest_names_a_seed_whose_submodule_does_not_exist_any_more():
    plain = unpickled(harvest(grown(nn.Sequential(ReadsWeight(), nn.Tanh()), "0.block.1")))
    del plain[0]
    with pytest.raises(AssertionError, match=r"is lost: submodule '0\.block\.1'"):
        plain(ROWS)


def test_an_unpickled_harvest_runs_without_a_seed_whose_check_was_removed():
    plain = replace_parent(unpickled(harvest(grown(ReadsWeight(), "block.1"))))
    for check in plain.grown_checks["block.1"]:
        check.remove()
    assert plain(ROWS).shape == (6, 8)


def test_an_unpickled_harvest_with_a_check_for_lost_seeds_is_exported_and_compiled():
    plain = unpickled(harvest(grown(ReadsWeight(), "block.1")).eval())
    exported = torch.export.export(plain, (ROWS,)).module()
    torch.testing.assert_close(exported(ROWS), plain(ROWS))
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ROWS), plain(ROWS))


def test_an_unpickled_harvest_whose_hook_was_registered_again_still_runs():
    plain = harvest(grown(ReadsWeight(), "block.1")).eval()
    hooks = plain.block[1]._forward_hooks
    (hook,) = hooks.values()
    hooks.clear()
    plain.block[1].register_forward_hook(hook)  # as torch.ao does when it swaps a module
    torch.testing.assert_close(unpickled(plain)(ROWS), plain(ROWS))


def test_a_harvest_runs_without_a_seed_whose_check_was_removed():
    plain = replace_parent(harvest(grown(ReadsWeight(), "block.1")))
    for check in plain.grown_checks["block.1"]:
        check.remove()
    assert plain(ROWS).shape == (6, 8)


def test_a_hook_that_moves_with_its_layer_is_found():
    plain = harvest(grown(ReadsWeight(), "block.1")).eval()
    before = plain(ROWS)
    plain.block = nn.Sequential(nn.Identity(), *plain.block)
    plain.forward = lambda rows: plain.block(rows) * plain.block[2].weight
    torch.testing.assert_close(plain(ROWS), before)


def test_a_deep_copy_checks_its_own_seed():
    plain = harvest(grown(ReadsWeight(), "block.1")).eval()
    twin = copy.deepcopy(plain)
    replace_parent(plain)
    twin(ROWS)
    with pytest.raises(KasminaError, match="is lost"):
        plain(ROWS)


@pytest.mark.filterwarnings("ignore:`torch.jit.*deprecated")
def test_a_harvest_grown_again_after_the_same_submodule_has_both_seeds():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 2))
    first = harvest(grown(model, "0"))
    again = grown(first, "0")
    second = harvest(again)
    torch.testing.assert_close(second(ROWS), again(ROWS))
    seeds = [key for key in second.state_dict() if key.endswith("seed.scale")]
    assert seeds == ["0.1.grown_r0c0.seed.scale", "0.1.grown_r0c0_2.seed.scale"]
    torch.testing.assert_close(torch.jit.script(second)(ROWS), second(ROWS))
    torch.testing.assert_close(second(ROWS), again(ROWS))  # torch.jit.script changes nothing


class OwnLayer(nn.Module):
    """A layer that is not torch's own, like GPT-2's ``Conv1D``: its seed runs as a hook."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features = inputs, outputs
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)

    def forward(self, rows):
        return rows @ self.weight.T


def own_layers() -> nn.Module:
    return nn.Sequential(OwnLayer(4, 8), nn.Tanh(), nn.Linear(8, 2))


def adapt(model: nn.Module, name: str) -> nn.Module:
    """Puts a trained adapter around a layer."""
    adapter = Adapter(model.get_submodule(name))
    model.set_submodule(name, adapter)
    return model


def grown_harvest(model: nn.Module | None = None) -> nn.Module:
    return harvest(grown(model or own_layers(), "0")).eval()


def test_an_adapter_added_later_is_added_before_the_seed():
    plain = adapt(grown_harvest(), "0")
    adapter, tanh, last = plain
    added = ROWS @ adapter.base_layer.weight.T + adapter.up(adapter.down(ROWS))
    seed = adapter.base_layer.grown_r0c0.seed
    torch.testing.assert_close(plain(ROWS), last(tanh(seed(added))))


def test_an_adapter_added_later_can_be_merged():
    plain = adapt(grown_harvest(), "0")
    before = plain(ROWS)
    merged = merge_and_unload(plain)
    assert isinstance(merged[0], OwnLayer)
    torch.testing.assert_close(merged(ROWS), before)
    torch.testing.assert_close(merged(ROWS), before)


def test_a_copy_of_an_adapted_harvest_can_be_merged():
    plain = adapt(grown_harvest(), "0")
    before = plain(ROWS)
    twin = merge_and_unload(copy.deepcopy(plain))
    torch.testing.assert_close(twin(ROWS), before)
    torch.testing.assert_close(plain(ROWS), before)


def test_an_adapter_that_was_there_at_the_harvest_can_be_merged():
    model = ReadsWeight()
    model.block[1] = nn.Linear(8, 8)
    adapt(model, "block.1").block[1].weight = nn.Parameter(torch.ones(8))
    plain = harvest(grown(model, "block.1")).eval()
    assert any(type(hook).__name__ == "Grown" for hook in plain.block[1]._forward_hooks.values())
    before = plain.block(ROWS)
    plain(ROWS)
    merged = merge_and_unload(plain)
    merged.forward = merged.block.forward
    torch.testing.assert_close(merged(ROWS), before)


def test_two_seeds_after_one_layer_run_after_an_adapter_in_their_order():
    plain = adapt(grown_harvest(grown_harvest()), "0")
    before = plain(ROWS)
    assert len(plain[0]._forward_hooks) == 2
    torch.testing.assert_close(merge_and_unload(plain)(ROWS), before)


def test_an_adapted_harvest_can_be_pickled():
    plain = adapt(grown_harvest(), "0")
    before = plain(ROWS)
    torch.testing.assert_close(pickle.loads(pickle.dumps(plain))(ROWS), before)
