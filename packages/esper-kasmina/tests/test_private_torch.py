"""Each private name of torch that ``esper_kasmina._torch`` uses behaves as expected.

A test's name says what breaks when torch changes it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from torch import fx, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.functional import leaky_relu, max_pool2d, silu
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LinearLR, SequentialLR

import esper_kasmina
from esper_kasmina import _torch


@pytest.fixture
def one_rank(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'ranks'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_seeds_keep_their_place_in_the_order_of_forward_hooks():
    layer = nn.Linear(2, 2)
    handles = [layer.register_forward_hook(lambda *_: None) for _ in range(3)]
    assert list(_torch.forward_hooks(layer)) == [handle.id for handle in handles]
    _torch.forward_hooks(layer)[handles[1].id] = lambda _module, _inputs, output: output * 2
    ones = torch.ones(2)
    torch.testing.assert_close(layer(ones), layer.forward(ones) * 2)


def test_a_grafted_model_whose_hook_was_removed_is_noticed():
    layer = nn.Linear(2, 2)
    handle = layer.register_forward_pre_hook(lambda *_: None)
    assert handle.id in _torch.forward_pre_hooks(layer)
    handle.remove()
    assert handle.id not in _torch.forward_pre_hooks(layer)


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_layer_with_backward_hooks_is_not_replaced(kind):
    layer = nn.Linear(2, 2)
    assert not _torch.has_backward_hooks(layer)
    getattr(layer, kind)(lambda *_: None)
    assert _torch.has_backward_hooks(layer)


def test_a_replaced_submodule_is_found_by_name():
    model = nn.Sequential(nn.Linear(2, 2))
    assert _torch.children(model)["0"] is model[0]
    assert _torch.children(model).get("1") is None


def test_scripting_a_harvest_leaves_the_harvest_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    copied = _torch.shallow_copy(model)
    copied[0] = nn.Identity()
    _torch.forward_hooks(copied).clear()
    _torch.forward_pre_hooks(copied).clear()
    assert isinstance(model[0], nn.Linear)
    assert _torch.forward_hooks(model)
    assert _torch.forward_pre_hooks(model)


def test_values_written_into_a_slot_are_noticed():
    tensor = torch.zeros(())
    before = _torch.version_of(tensor)
    tensor.fill_(1.0)
    assert _torch.version_of(tensor) != before
    with torch.inference_mode():
        assert _torch.version_of(torch.zeros(())) is None


def test_a_seed_that_germinated_after_wrapping_in_data_parallel_is_noticed(one_rank):
    seen = []

    class Spy(nn.Linear):
        def forward(self, inputs):
            seen.append(_torch.active_data_parallel())
            return super().forward(inputs)

    layer = Spy(2, 2)
    wrapper = DistributedDataParallel(layer)
    assert _torch.active_data_parallel() is None
    wrapper(torch.ones(1, 2))
    assert seen == [wrapper]
    assert [id(p) for p in _torch.reduced_parameters(wrapper)] == [
        id(p) for p in layer.parameters()
    ]


def test_a_seed_that_germinated_after_sharding_has_the_models_precision(one_rank):
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    layer = fully_shard(nn.Linear(2, 2), mesh=mesh, mp_policy=policy)
    assert _torch.mixed_precision_policy(layer) == policy


def test_the_pooled_batch_norm_has_the_gradients_of_torchs_layers():
    images = torch.randn(2, 3, 4, 6, requires_grad=True)
    largest, indices = _torch.max_pool_2x2(images)
    expected = max_pool2d(images, 2)
    assert torch.equal(largest, expected)
    gradient = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, images, gradient)
    assert torch.equal(_torch.max_pool_2x2_backward(gradient, images.detach(), indices), wanted)
    output = torch.relu(largest.detach())
    assert torch.equal(_torch.relu_backward(gradient, output), gradient * (output > 0))


def test_stacked_seeds_have_the_gradients_of_torchs_activations():
    inputs = torch.randn(3, 5, requires_grad=True)
    gradient = torch.randn(3, 5)
    output = leaky_relu(inputs, 0.2)
    (wanted,) = torch.autograd.grad(output, inputs, gradient)
    assert torch.equal(_torch.leaky_relu_backward(gradient, output.detach(), 0.2), wanted)
    (wanted,) = torch.autograd.grad(silu(inputs), inputs, gradient)
    assert torch.equal(_torch.silu_backward(gradient, inputs.detach()), wanted)


def test_the_norms_of_seeds_derive_from_the_base_of_all_batch_norms():
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    assert all(issubclass(norm, _torch.BatchNormBase) for norm in norms)


def test_names_are_looked_up_through_compiled_modules():
    layer = nn.Linear(2, 2)
    assert torch.compile(layer).get_submodule(_torch.COMPILED) is layer


def test_pickled_checks_for_lost_seeds_are_graphs_that_can_be_traced_again():
    hook = fx.symbolic_trace(nn.Identity())
    check = fx.symbolic_trace(_torch.hook_check("0", hook, "no hook"))
    model = nn.Sequential(nn.Identity())
    with pytest.raises(AssertionError, match="no hook"):
        check(model, ())
    model[0].register_forward_hook(hook)
    check(model, ())


def test_compound_schedulers_follow_growth():
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    parts = [ConstantLR(optimizer), LinearLR(optimizer)]
    for compound in (SequentialLR(optimizer, parts, milestones=[2]), ChainedScheduler(parts)):
        assert _torch.scheduler_parts(compound) == parts
    assert _torch.scheduler_parts(parts[0]) == []
    assert getattr(parts[0], _torch.LAST_RATES) == [group["lr"] for group in optimizer.param_groups]


def test_private_names_of_torch_are_used_in_one_module_only():
    package = Path(esper_kasmina.__file__).parent
    private = re.compile(r"^_(?!_)")
    allowed = {"_apply", "_load_from_state_dict", "_check_input_dim", "_replace", "_fields"}
    for path in package.rglob("*.py"):
        if path.name == "_torch.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Name)
            or (isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self")
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private.match(node.attr):
                assert node.attr in own | allowed, f"{path.name}:{node.lineno} reads {node.attr}"
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                for name in node.names:
                    assert not private.match(name.name), f"{path.name} imports {name.name}"


def test_a_compiled_model_is_compiled_again_with_its_slots():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    layers[1].compile()
    assert [_torch.is_compiled(each) for each in (*layers, torch.compile(nn.Linear(2, 2)))] == [
        False,
        True,
        True,
    ]
