"""Small hosts that are computed together give the same results as alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from esper_kasmina import CNNHost, KasminaError, build_host
from esper_kasmina.hosts.signal_stack import SignalStack, _MaxPool2x
from esper_leyline import (
    BlendStyle,
    Blueprint,
    CNNHostSpec,
    HostOptions,
    SeedStage,
)

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


def grown(spec) -> list[CNNHost]:
    """Three hosts: bare, with a seed in training, with one at full strength."""
    hosts = [build(spec, seed) for seed in range(3)]
    inputs, _ = data(spec, 5)
    raise_seed(hosts[1], "r0c0", SeedStage.TRAINING, Blueprint.CONV_LIGHT, inputs)
    style = BlendStyle.GATED_GATE
    raise_seed(hosts[2], "r0c1", SeedStage.HOLDING, Blueprint.DEPTHWISE, inputs, style=style)
    for host in hosts:
        host.zero_grad()
    return hosts


def losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    rows = logits.flatten(0, 1)
    return (
        cross_entropy(rows, labels.repeat(len(logits)), reduction="none")
        .view(len(logits), -1)
        .mean(1)
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_stack_computes_the_same_as_its_hosts(spec, training):
    hosts = grown(spec)
    alone, (inputs, labels) = copy.deepcopy(hosts), data(spec)
    stack = hosts[0].stack(hosts[1:])
    for host in (*hosts, *alone):
        host.train(training)
    logits = stack(inputs)
    expected = [host(inputs) for host in alone]
    torch.testing.assert_close(logits, torch.stack(expected))
    losses(logits, labels).sum().backward()
    stack.share_gradients()
    for host, twin, output in zip(hosts, alone, expected, strict=True):
        cross_entropy(output, labels).backward()
        found = {name: p.grad for name, p in host.named_parameters() if p.grad is not None}
        wanted = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
        statistics = [
            {n: b for n, b in each.named_buffers() if "running" in n} for each in (host, twin)
        ]
        torch.testing.assert_close(*statistics)


def train(hosts: list[CNNHost], steps: int = 4) -> None:
    stack = hosts[0].stack(hosts[1:])
    optimizer = torch.optim.SGD([stack.weights], lr=0.1, momentum=0.9)
    for step in range(steps):
        inputs, labels = data(hosts[0].spec, step)
        optimizer.zero_grad()
        losses(stack(inputs), labels).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_a_hosts_training_does_not_depend_on_other_hosts_in_the_stack(spec, size):
    many = [build(spec, seed) for seed in range(8)]
    few = [build(spec, seed) for seed in range(size)]
    train(many)
    train(few)
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
    hosts[2].eval()
    torch.testing.assert_close(again(inputs)[0], hosts[1](inputs))


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


@pytest.mark.parametrize("length", [8, 9])
def test_max_pooling_of_a_stack_has_torchs_gradient(length):
    """Of equal neighbours the first gets it, as signals are equal where they are zero."""
    generator = torch.Generator().manual_seed(length)
    hidden = torch.randint(-2, 3, (2, 3, length, 5), generator=generator).double()
    weights = torch.randn(2, 3, length // 2, 5, generator=generator, dtype=torch.float64)
    outputs, gradients = [], []
    for halve in (_MaxPool2x.apply, _max_pool):
        leaf = hidden.clone().requires_grad_()
        outputs.append(halve(leaf))
        (outputs[-1] * weights).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*outputs)
    assert torch.equal(*gradients)


def _max_pool(hidden):
    signals = hidden.transpose(2, 3).flatten(0, 2).unsqueeze(1)
    halved = torch.nn.functional.max_pool1d(signals, 2)
    return halved.view(*hidden.shape[:2], hidden.shape[3], -1).transpose(2, 3)
