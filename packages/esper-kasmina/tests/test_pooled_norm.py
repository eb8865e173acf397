"""Norm, max pooling and ReLU in one step compute the numbers of torch's three layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esper_kasmina.layers.pooled_norm import can_pool_first, pooled_batch_norm

LAST = torch.channels_last


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).contiguous(memory_format=LAST)


def norms(channels: int, dtype: torch.dtype = torch.float32) -> list[nn.BatchNorm2d]:
    """Two equal norms with random scales and shifts."""
    generator = torch.Generator().manual_seed(1)
    scale, shift = torch.rand(channels, generator=generator), torch.rand(channels) - 0.5
    made = [nn.BatchNorm2d(channels).to(dtype) for _ in range(2)]
    for norm in made:
        norm.weight.data.copy_(scale + 0.1)
        norm.bias.data.copy_(shift)
    return made


def plain(norm: nn.BatchNorm2d, images: torch.Tensor) -> torch.Tensor:
    return torch.relu(torch.max_pool2d(norm(images), 2))


@pytest.mark.parametrize("shape", [(6, 8, 32, 32), (40, 16, 16, 16), (3, 5, 7, 9), (2, 1, 2, 2)])
def test_outputs_gradients_and_statistics_are_those_of_torchs_layers(shape):
    fused, own = norms(shape[1])
    images = pictures(*shape)
    one, other = (images.clone(memory_format=torch.preserve_format) for _ in range(2))
    outputs = []
    for norm, inputs, run in ((fused, one, pooled_batch_norm), (own, other, plain)):
        inputs.requires_grad_()
        output = run(norm, inputs)
        weights = pictures(*output.shape, seed=2)
        (output * weights).sum().backward()
        outputs.append(output.detach())
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fused.weight.grad, own.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(fused.bias.grad, own.bias.grad, rtol=1e-4, atol=1e-3)
    for name, buffer in fused.named_buffers():
        torch.testing.assert_close(buffer, own.get_buffer(name), rtol=1e-5, atol=1e-6)


def test_gradients_pass_gradcheck():
    norm, _ = norms(3, torch.float64)
    images = pictures(2, 3, 4, 4, dtype=torch.float64).requires_grad_()

    def run(inputs, weight, bias):
        return torch.func.functional_call(
            _Step(norm), {"norm.weight": weight, "norm.bias": bias}, (inputs,)
        )

    assert torch.autograd.gradcheck(run, (images, norm.weight, norm.bias))


class _Step(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, images):
        return pooled_batch_norm(self.norm, images)


def test_flat_regions_give_their_gradient_to_one_pixel():
    norm, _ = norms(2)
    images = torch.ones(1, 2, 4, 4).contiguous(memory_format=LAST)
    images[..., 2:] = 3.0
    grads = []
    for run in (pooled_batch_norm, plain):
        inputs = images.clone().requires_grad_()
        run(norm, inputs).square().sum().backward()
        grads.append(inputs.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 8, 16, 16), (2, 3, 5, 7)])
def test_evaluation_is_bit_identical_to_torchs_layers(shape):
    norm, _ = norms(shape[1])
    norm(pictures(*shape, seed=3))
    norm.eval()
    images = pictures(*shape)
    with torch.no_grad():
        assert torch.equal(pooled_batch_norm(norm, images), plain(norm, images))
    leaf = images.clone().requires_grad_()
    assert torch.equal(pooled_batch_norm(norm, leaf), plain(norm, leaf))


def test_a_mean_far_from_zero_is_left_to_torch():
    norm, _ = norms(2)
    images = pictures(4, 2, 8, 8) + 1000.0
    assert pooled_batch_norm(norm, images) is None
    assert norm.num_batches_tracked == 0


def test_negative_scales_other_dtypes_and_other_layouts_are_left_to_torch():
    norm, _ = norms(2)
    images = pictures(4, 2, 8, 8)
    assert can_pool_first(norm, images)
    assert not can_pool_first(norm, images.bfloat16())
    assert not can_pool_first(norm, images.contiguous())
    norm.weight.data[1] = -0.1
    assert not can_pool_first(norm, images)
