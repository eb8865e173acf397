"""Attention with linear biases: both kernels compute the same function."""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses import FakeTensorMode

from esper_kasmina import ActivationSpec, Seed
from esper_kasmina.blueprints.tokens.flex_attention import FlexAttention, attend_fused
from esper_leyline import Blueprint

causality = pytest.mark.parametrize("causal", [True, False], ids=["causal", "both ways"])


def attention(width=8, *, causal=False, batch_first=True) -> FlexAttention:
    torch.manual_seed(0)
    activations = ActivationSpec.tokens(width, causal=causal, batch_first=batch_first)
    branch = Seed(Blueprint.FLEX_ATTENTION, activations).branch
    assert isinstance(branch, FlexAttention)
    return branch


def heads(branch, length=7):
    """Query, key and value, [2, heads, length, D / heads]."""
    shape = (3, 2, branch.heads, length, branch.out.weight.shape[0] // branch.heads)
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return drawn.unbind(0)


def by_hand(branch, query, key, value):
    """Softmax of the logits less slope times distance, written out."""
    logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    places = torch.arange(query.shape[-2])
    distance = places.unsqueeze(1) - places
    logits = logits - branch.slopes.view(-1, 1, 1) * distance.abs()
    if branch.causal:
        logits = logits.masked_fill(distance < 0, -torch.inf)
    return logits.softmax(-1) @ value


@causality
def test_the_portable_kernel_computes_attention_with_biases(causal):
    branch = attention(causal=causal)
    parts = heads(branch)
    torch.testing.assert_close(branch.attend(*parts), by_hand(branch, *parts))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@causality
@pytest.mark.parametrize("length", [1, 7, 33])
def test_the_fused_kernel_computes_the_same(causal, length):
    branch = attention(causal=causal)
    parts = heads(branch, length)
    fused = attend_fused(*parts, branch.slopes, causal=causal)
    torch.testing.assert_close(fused, branch.attend(*parts))


def test_slopes_are_those_of_the_paper():
    """A geometric sequence that starts at 2^(-8/n) for n heads."""
    assert torch.allclose(attention().slopes, torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]))
    assert torch.allclose(attention(2).slopes, torch.tensor([2.0**-4, 2.0**-8]))


@causality
def test_near_tokens_have_larger_attention_weights(causal):
    """Of equal tokens, the nearer one is seen more; the first head narrows most."""
    branch = attention(causal=causal)
    length = 6
    query = key = torch.zeros(1, 4, length, 2)
    value = torch.eye(length).expand(1, 4, -1, -1)
    weights = branch.attend(query, key, value)[0]
    last = weights[:, -1]
    assert (last.diff(dim=-1) > 0).all()
    share = last[:, -2] / last[:, -1]
    torch.testing.assert_close(share, torch.exp(-branch.slopes))
    assert (share.diff() > 0).all()
    if causal:
        assert torch.equal(weights, weights.tril())
    else:
        assert (weights[:, 0].diff(dim=-1) < 0).all()


def test_tokens_may_have_the_batch_second():
    first, second = attention(), attention(batch_first=False)
    tokens = torch.randn(3, 5, 8)
    torch.testing.assert_close(second(tokens.transpose(0, 1)).transpose(0, 1), first(tokens))


def test_kernel_names_the_kernel_that_runs():
    branch = attention(64)
    assert branch.kernel == "scaled_dot_product"
    with FakeTensorMode(), torch.device("cuda"):
        branch = attention(64)
        assert branch.kernel == "flex_attention"
        branch.portable = True
        assert branch.kernel == "scaled_dot_product"


@pytest.mark.parametrize(("width", "fused"), [(8, False), (60, False), (64, True), (256, True)])
def test_heads_too_narrow_for_the_fused_kernel_use_the_portable_one(width, fused):
    """It takes heads of 16 numbers or more, and would fail when it is compiled."""
    with FakeTensorMode(), torch.device("cuda"):
        assert (attention(width).kernel == "flex_attention") == fused


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # the compiler's own
@causality
@pytest.mark.parametrize("width", [8, 64])
def test_on_cuda_the_fused_kernel_learns_the_same(width, causal):
    branch = attention(width, causal=causal).cuda()
    assert branch.kernel == ("flex_attention" if width == 64 else "scaled_dot_product")
    tokens = torch.randn(2, 40, width, generator=torch.Generator().manual_seed(0)).cuda()
    results = []
    for portable in (False, True):
        branch.portable = portable
        branch.zero_grad()
        output = branch(tokens)
        output.square().mean().backward()
        results.append([output, *(p.grad for p in branch.parameters())])
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-2, atol=1e-3)
