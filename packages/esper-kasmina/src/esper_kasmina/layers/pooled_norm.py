"""Batch norm, 2 x 2 max pooling and ReLU of images in one step, on a CPU.

A batch norm whose scale is not negative is monotonic, so it can be applied after max pooling, to a
quarter of the elements. What is left to compute over all pixels is two sums in the forward pass and
one fused multiply-add in the backward pass. They run on chunks that fit a core's cache.

Measured with torch 2.15, one thread, 512 images of 3 x 32 x 32, three blocks of 8, 16 and 32
channels, forward and backward: 56 ms, and 62 ms with torch's own layers. Batches of 32 are slower
with it. It is kept because with it the engine is 1.68 times as fast as a loop on cifar10; the goal
is 1.8 (``tests/benchmarks/engine.py``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from esper_kasmina._torch import max_pool_2x2, max_pool_2x2_backward, relu_backward

CHUNK_ELEMENTS = 131_072
"""Elements in a chunk of images: half a megabyte, half of a usual second-level cache."""

CANCELLATION = 1e3
"""Largest ratio of squared mean to variance for which E[x^2] - E[x]^2 is used as the variance.

In float32 its relative error is then about 1e-4.
"""


def can_pool_first(norm: nn.Module, images: Tensor) -> bool:
    """Whether ``pooled_batch_norm`` can replace a norm and a max pooling of these images.

    A host that is traced or compiled uses torch's own layers.
    """
    return (
        isinstance(images, Tensor)  # not a torch.fx.Proxy
        and isinstance(norm, nn.BatchNorm2d)
        and images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and images.is_contiguous(memory_format=torch.channels_last)
        and bool((norm.weight.detach() >= 0).all())
    )


def pooled_batch_norm(norm: nn.BatchNorm2d, images: Tensor) -> Tensor | None:
    """Returns relu(max_pool(norm(images))), and updates the norm's running statistics.

    Args:
        norm: A norm whose weight is not negative.
        images: [B, C, H, W], channels last.

    Returns:
        [B, C, H // 2, W // 2]; ``None``, with no statistic updated, if the images' mean is so far
        from zero that their variance would be inexact.
    """
    if not norm.training:
        return torch.relu_(norm(_max_pool(images)))
    mean, variance = _moments(images)
    if bool((mean.square() > CANCELLATION * variance + 1.0).any()):
        return None
    _update_statistics(norm, mean, variance, images)
    pooled: Tensor = _PooledBatchNorm.apply(
        images, norm.weight, norm.bias, mean, variance, norm.eps
    )
    return pooled


def _max_pool(images: Tensor) -> Tensor:
    """Returns 2 x 2 maxima; without gradients in a third of the time of ``max_pool2d``."""
    if images.requires_grad:
        return torch.max_pool2d(images, 2)
    height, width = (2 * (size // 2) for size in images.shape[2:])
    rows = torch.maximum(images[:, :, :height:2], images[:, :, 1:height:2])
    return torch.maximum(rows[..., :width:2], rows[..., 1:width:2])


@torch.no_grad()
def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance [C] over all pixels."""
    channels = images.shape[1]
    total, squares = images.new_zeros(2, channels)
    for chunk in images.split(_chunk_size(images)):
        pixels = _pixels(chunk)
        total += pixels.sum(0)
        squares += pixels.square().sum(0)
    count = images.numel() // channels
    mean = total / count
    return mean, (squares / count - mean.square()).clamp_min_(0)


@torch.no_grad()
def _update_statistics(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, images: Tensor
) -> None:
    """Updates the running statistics as torch's layer does, with the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None:
        return
    count = images.numel() // images.shape[1]
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    momentum = norm.momentum
    if momentum is None:
        momentum = 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), momentum)


def _chunk_size(images: Tensor) -> int:
    """Returns how many images a chunk has."""
    return max(1, CHUNK_ELEMENTS // images[0].numel())


class _PooledBatchNorm(torch.autograd.Function):
    """The forward and backward pass in training; mean and variance [C] are those of the images."""

    @staticmethod
    def forward(  # noqa: PLR0917 - apply takes positional arguments only
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> Tensor:
        largest, indices = max_pool_2x2(images)
        inverse_std = (variance + eps).rsqrt()
        scale = weight * inverse_std
        shift = bias - mean * scale
        output = torch.addcmul(_by_channel(shift), largest, _by_channel(scale)).relu_()
        ctx.save_for_backward(images, indices, largest, output, mean, inverse_std, weight)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, indices, largest, output, mean, inverse_std, weight = ctx.saved_tensors
        gradient = relu_backward(gradient, output)
        for_bias = _pixels(gradient).sum(0)
        for_weight = (_pixels(gradient * largest).sum(0) - mean * for_bias) * inverse_std
        scale = weight * inverse_std
        gradient.mul_(_by_channel(scale))
        # Through mean and variance each pixel x gets slope * x + constant (Ioffe and Szegedy 2015).
        mean_scale = scale / (images.numel() // images.shape[1])
        slope = _by_channel(-mean_scale * inverse_std * for_weight)
        constant = _by_channel(-mean_scale * (for_bias - mean * inverse_std * for_weight))
        for_images = torch.empty_like(images)
        size = _chunk_size(images)
        for chunk, part, index, result in zip(
            images.split(size),
            gradient.split(size),
            indices.split(size),
            for_images.split(size),
            strict=True,
        ):
            for_chunk = max_pool_2x2_backward(part, chunk, index)
            torch.addcmul(for_chunk.add_(constant), chunk, slope, out=result)
        return for_images, for_weight, for_bias, None, None, None


def _pixels(images: Tensor) -> Tensor:
    """Views channels-last images as [pixels, C], which torch sums fast."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _by_channel(values: Tensor) -> Tensor:
    """Reshapes [C] to [1, C, 1, 1]."""
    return values.view(1, -1, 1, 1)
