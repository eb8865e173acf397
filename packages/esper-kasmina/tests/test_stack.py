"""Small hosts that are computed together give the same results as alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from esper_kasmina import (
    CNNHost,
    KasminaError,
    build_host,
    register_blueprint,
    unregister_blueprint,
)
from esper_kasmina.stacks.signal_stack import SignalStack
from esper_leyline import (
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    HostOptions,
    SeedStage,
    Topology,
)
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS

from .host_specs import HOST_SPECS
from .lifecycle_helpers import raise_seed

BLIND = HOST_SPECS["mnist1d_blind"]
SEEING = CNNHostSpec(input_shape=(2, 21), classes=5, widths=(6, 8), kernel=5, pools=(True, False))


def build(spec: CNNHostSpec, seed: int) -> CNNHost:
    return build_host(spec, HostOptions(slots=spec.slots, rng_seed=seed))


@pytest.fixture(params=[BLIND, SEEING], ids=["blind", "seeing"])
def spec(request):
    return request.param


def data(spec, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(16, *spec.input_shape, generator=generator)
    return inputs, torch.randint(spec.classes, (16,), generator=generator)


def grown(spec, seeds: dict[int, tuple[str, SeedStage, Blueprint, BlendStyle]]) -> list[CNNHost]:
    """Four hosts; ``seeds`` names slot, stage, blueprint and style of the seeds of some."""
    hosts = [build(spec, seed) for seed in range(4)]
    inputs, _ = data(spec, 5)
    for index, (slot, stage, blueprint, style) in seeds.items():
        raise_seed(hosts[index], slot, stage, blueprint, inputs, style=style)
        if stage is SeedStage.BLENDING:
            hosts[index].tick()  # to an alpha between 0 and 1
        move_gate(hosts[index], slot)
    for host in hosts:
        host.zero_grad()
    return hosts


def move_gate(host: CNNHost, slot: str) -> None:
    """Gives the gate of a seed, if it has one, weights other than zero."""
    gate = host.slot(slot).seed.gate
    if gate is not None:
        nn.init.normal_(gate.logit.weight, generator=torch.Generator().manual_seed(3))


def losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    rows = logits.flatten(0, 1)
    return (
        cross_entropy(rows, labels.repeat(len(logits)), reduction="none")
        .view(len(logits), -1)
        .mean(1)
    )


def train_once(stack: SignalStack, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Computes logits and all gradients."""
    stack.regroup()
    logits = stack.forward(inputs).requires_grad_()
    losses(logits, labels).sum().backward()
    stack.backward(logits.grad)
    return logits.detach()


MIXED = {
    1: ("r0c0", SeedStage.TRAINING, Blueprint.CONV_LIGHT, BlendStyle.LINEAR_ADD),
    2: ("r0c1", SeedStage.HOLDING, Blueprint.DEPTHWISE, BlendStyle.GATED_GATE),
    3: ("r0c0", SeedStage.HOLDING, Blueprint.CONV_LIGHT, BlendStyle.LINEAR_ADD),
}
"""A bare host, and seeds of different stages and structures."""


def everywhere(stage: SeedStage, blueprint: Blueprint, style: BlendStyle):
    """The same seed in hosts 0, 2 and 3, which are not neighbours."""
    return dict.fromkeys((0, 2, 3), ("r0c0", stage, blueprint, style))


CASES = [
    pytest.param({}, id="bare"),
    pytest.param(MIXED, id="mixed"),
    *(
        pytest.param(everywhere(stage, blueprint, style), id=f"{blueprint}-{style}-{stage.name}")
        for blueprint in TOPOLOGY_BLUEPRINTS[Topology.CNN]
        for style in BlendStyle
        if style is not BlendStyle.SIGMOID_ADD  # blends as LINEAR_ADD does
        for stage in (SeedStage.TRAINING, SeedStage.BLENDING)
    ),
]


@pytest.mark.parametrize("seeds", CASES)
def test_a_stack_trains_the_same_as_its_hosts(spec, seeds):
    hosts = grown(spec, seeds)
    alone, (inputs, labels) = copy.deepcopy(hosts), data(spec)
    for host in (*hosts, *alone):
        host.train()
    stack = hosts[0].stack(hosts[1:])
    logits = train_once(stack, inputs, labels)
    assert len(stack.seed_rows) == len(seeds)
    expected = [host(inputs) for host in alone]
    torch.testing.assert_close(logits, torch.stack(expected))
    stack.share_gradients()
    for host, twin, output in zip(hosts, alone, expected, strict=True):
        cross_entropy(output, labels).backward()
        found = {name: p.grad for name, p in host.named_parameters()}
        wanted = {name: p.grad for name, p in twin.named_parameters()}
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
        statistics = [
            {n: b for n, b in each.named_buffers() if "running" in n} for each in (host, twin)
        ]
        torch.testing.assert_close(*statistics)
    stack.clear_gradients()
    assert all(p.grad is None for host in hosts for p in host.parameters())


@pytest.mark.parametrize("seeds", CASES)
def test_a_stack_evaluates_configurations_the_same_as_its_hosts(spec, seeds):
    hosts = grown(spec, seeds)
    twin_slot = hosts[0].slots[1]
    blueprint = Blueprint.CONV_SMALL
    raise_seed(hosts[3], twin_slot, SeedStage.HOLDING, blueprint, data(spec, 6)[0])
    stack = hosts[0].stack(hosts[1:])
    stack.regroup()
    for host in hosts:
        host.eval()
    one, both = frozenset({"r0c0"}), frozenset({"r0c0", twin_slot})
    disabled = [[frozenset()], [frozenset(), one], [one, frozenset()], [frozenset(), both, one]]
    inputs, _ = data(spec)
    found = stack.counterfactuals(inputs, disabled)
    for host, logits, configurations in zip(hosts, found, disabled, strict=True):
        torch.testing.assert_close(logits, host.counterfactuals(inputs, configurations))


def test_seeds_of_an_unknown_structure_run_in_their_own_hosts(spec):
    """A registered blueprint may hold any module; its gradients go to its own parameters."""
    register_blueprint("tanh_block", lambda _: nn.Sequential(nn.Tanh()), topologies=Topology.CNN)
    try:
        hosts = grown(spec, {1: ("r0c0", SeedStage.HOLDING, "tanh_block", BlendStyle.LINEAR_ADD)})
        alone, (inputs, labels) = copy.deepcopy(hosts), data(spec)
        for host in (*hosts, *alone):
            host.train()
        stack = hosts[0].stack(hosts[1:])
        logits = train_once(stack, inputs, labels)
        expected = alone[1](inputs)
        cross_entropy(expected, labels).backward()
    finally:
        unregister_blueprint("tanh_block")
    assert stack.seed_rows == ()
    torch.testing.assert_close(logits[1], expected)
    scale, other = (each[1].slot("r0c0").seed.scale.grad for each in (hosts, alone))
    torch.testing.assert_close(scale, other, rtol=1e-3, atol=1e-6)
    for host in hosts:
        host.eval()
    disabled = [[frozenset()]] * 4
    torch.testing.assert_close(stack.counterfactuals(inputs, disabled)[1][0], hosts[1](inputs))


def test_a_frozen_seed_runs_in_its_own_host(spec):
    hosts = grown(spec, {1: MIXED[3]})
    hosts[1].slot("r0c0").seed.freeze()
    alone, (inputs, labels) = copy.deepcopy(hosts), data(spec)
    for host in (*hosts, *alone):
        host.train()
    stack = hosts[0].stack(hosts[1:])
    logits = train_once(stack, inputs, labels)
    assert stack.seed_rows == ()
    torch.testing.assert_close(logits[1], alone[1](inputs))


def test_regroup_follows_seeds_that_come_and_go(spec):
    hosts = grown(spec, {1: MIXED[1], 3: MIXED[3]})
    for host in hosts:
        host.train()
    stack = hosts[0].stack(hosts[1:])
    inputs, labels = data(spec)
    train_once(stack, inputs, labels)
    assert len(stack.seed_rows) == 2
    hosts[1].prune_live()
    train_once(stack, inputs, labels)
    assert [row.parameters for row in stack.seed_rows] == [
        tuple(hosts[3].slot("r0c0").seed.parameters())
    ]


def train(hosts: list[CNNHost], steps: int = 4) -> None:
    stack = hosts[0].stack(hosts[1:])
    for step in range(steps):
        inputs, labels = data(hosts[0].spec, step)
        train_once(stack, inputs, labels)
        for row in (*stack.rows, *stack.seed_rows):
            row.values.add_(row.gradients, alpha=-0.1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_a_hosts_training_does_not_depend_on_other_hosts_in_the_stack(spec, size):
    many = [build(spec, seed) for seed in range(8)]
    few = [build(spec, seed) for seed in range(size)]
    inputs, _ = data(spec, 5)
    for hosts in (many, few):
        for index, host in enumerate(hosts):
            blueprint = Blueprint.CONV_HEAVY if index % 2 == 0 else Blueprint.ATTENTION
            raise_seed(host, "r0c1", SeedStage.HOLDING, blueprint, inputs)
            host.train()
        train(hosts)
    for one, other in zip(few, many, strict=False):
        first, second = one.state_dict(), other.state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_hosts_share_weights_with_the_stack_and_can_be_restored(spec):
    hosts = [build(spec, seed) for seed in range(2)]
    inputs, _ = data(spec)
    snapshot = hosts[0].snapshot()
    before = hosts[0].eval()(inputs)
    for host in hosts:
        host.train()
    train(hosts)
    assert not torch.allclose(hosts[0].eval()(inputs), before)
    hosts[0].restore(snapshot)
    assert torch.equal(hosts[0](inputs), before)


def test_some_hosts_of_a_stack_can_be_stacked_again(spec):
    hosts = [build(spec, seed) for seed in range(3)]
    train(hosts)
    kept = copy.deepcopy(hosts[1].state_dict())
    again = hosts[1].stack([hosts[2]])
    assert all(torch.equal(kept[name], value) for name, value in hosts[1].state_dict().items())
    inputs, _ = data(spec)
    hosts[1].eval()
    again.regroup()
    found, _ = again.counterfactuals(inputs, [[frozenset()]] * 2)
    torch.testing.assert_close(found[0], hosts[1](inputs))


def test_images_vectors_and_wide_hosts_are_not_stacked():
    image = build(HOST_SPECS["cifar10"], 0)
    assert image.stack([build(HOST_SPECS["cifar10"], 1)]) is None
    spec = HOST_SPECS["mnist1d_mlp"]
    vectors = build_host(spec, HostOptions(slots=spec.slots, rng_seed=0))
    assert vectors.stack([]) is None
    wide = BLIND.model_copy(update={"widths": (128, 128, 128)})
    assert build(wide, 0).stack([]) is None


def test_hosts_that_cannot_be_stacked_are_refused():
    with pytest.raises(KasminaError, match="no hosts to stack"):
        SignalStack([])
    with pytest.raises(KasminaError, match="different specs"):
        SignalStack([build(BLIND, 0), build(SEEING, 0)])
    with pytest.raises(KasminaError, match=r"inputs \(3, 32, 32\) with kernel 3 are not stacked"):
        SignalStack([build(HOST_SPECS["cifar10"], 0)])


@pytest.mark.parametrize("training", [True, False])
def test_a_block_with_a_negative_scale_is_pooled_as_torch_does(spec, training):
    """Scale and shift come after pooling; a negative scale changes which neighbour is larger."""
    hosts = [build(spec, seed) for seed in range(2)]
    with torch.no_grad():
        for host in hosts:
            host.blocks[0].norm.weight[::2] *= -1
    alone, (inputs, labels) = copy.deepcopy(hosts), data(spec)
    stack = hosts[0].stack(hosts[1:])
    for host in (*hosts, *alone):
        host.train(training)
    if not training:
        stack.regroup()
        found = stack.counterfactuals(inputs, [[frozenset()]] * 2)
        for logits, host in zip(found, alone, strict=True):
            torch.testing.assert_close(logits[0], host(inputs))
        return
    logits = train_once(stack, inputs, labels)
    stack.share_gradients()
    for host, twin, output in zip(hosts, alone, logits, strict=True):
        expected = twin(inputs)
        torch.testing.assert_close(output, expected)
        cross_entropy(expected, labels).backward()
        for one, other in zip(host.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(
            host.blocks[0].norm.running_mean, twin.blocks[0].norm.running_mean
        )
