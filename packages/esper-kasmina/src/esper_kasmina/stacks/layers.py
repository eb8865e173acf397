"""Layers of several hosts at once, with backward passes written by hand.

Activations are [R, C, L, B]: one row for each host, channels, positions, samples. At a few ten
thousand elements the calls of operators and autograd take longer than the arithmetic, so each
layer has as few operators as possible, and no graph is recorded.

A layer is bound to the rows of its parameters and writes gradients into rows of the same shape.
``forward`` is for training and returns the function that computes the gradient of the inputs;
``infer`` is for evaluation. No row depends on another row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, leaky_relu_, pad, silu

from esper_kasmina._torch import leaky_relu_backward, silu_backward

Backward = Callable[[Tensor], Tensor]
"""Takes the gradient of a layer's output, writes those of its parameters, and returns that of its
input."""

Rows = Tensor | None
"""Indices [N] of rows of parameters, one for each row of activations; ``None`` for all in order."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One parameter of all rows.

    Attributes:
        values: [R, ...].
        gradients: Of the same shape.
    """

    values: Tensor
    gradients: Tensor

    def at(self, rows: Rows) -> Tensor:
        """Returns the values of some rows."""
        return self.values if rows is None else self.values.index_select(0, rows)


class Layer(Protocol):
    """A layer bound to its parameters."""

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Computes the outputs in training mode, and how gradients go back.

        Args:
            hidden: The activations.
            first_layer: Whether the gradient of ``hidden`` is not needed. The function may then
                return anything.
        """

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Computes the outputs in evaluation mode."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiplies matrices row by row: [R, N, K] and [R, K, M] to [R, N, M].

    One row is computed twice, because a product of one matrix rounds differently from a product
    of several, and a host's results must not depend on the number of rows.
    """
    if len(left) > 1:
        return torch.bmm(left, right)
    return torch.bmm(left.expand(2, -1, -1), right.expand(2, -1, -1))[:1]


class Convolution:
    """Convolution with an odd kernel size, zero padding and no bias."""

    def __init__(self, weights: Weights) -> None:
        """Takes weights [R, outputs, channels, kernel]."""
        self._weights = weights
        self._kernel = weights.values.shape[3]

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes [R, channels, L, B] and returns [R, outputs, L, B]."""
        matrix = self.matrix(self._weights.values)
        windows = to_windows(hidden, self._kernel)
        gradients, shape = self._weights.gradients, hidden.shape
        # The shape of the gradient of ``matrix``, in the order of the parameter.
        taps = gradients.movedim(3, 2)

        def backward(gradient: Tensor) -> Tensor:
            flat = gradient.flatten(2)
            taps.copy_(product(flat, windows.transpose(1, 2)).view(taps.shape))
            if first_layer:
                return gradient
            return sum_windows(product(matrix.transpose(1, 2), flat), self._kernel, shape)

        output = product(matrix, windows)
        return output.view(len(hidden), -1, *shape[2:]), backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes [N, channels, L, B] and returns [N, outputs, L, B]."""
        return self._infer(hidden, self._weights.at(rows))

    def infer_scaled(self, hidden: Tensor, rows: Rows, scale: Tensor) -> Tensor:
        """Multiplies the outputs by ``scale`` [N, outputs, 1]."""
        return self._infer(hidden, self._weights.at(rows) * scale.unsqueeze(3))

    def _infer(self, hidden: Tensor, weights: Tensor) -> Tensor:
        output = product(self.matrix(weights), to_windows(hidden, self._kernel))
        return output.view(len(hidden), -1, *hidden.shape[2:])

    def matrix(self, weights: Tensor) -> Tensor:
        """Reorders [R, outputs, channels, kernel] to [R, outputs, kernel · channels]."""
        return weights.movedim(3, 2).flatten(2)


class Depthwise:
    """Convolution of each channel by itself, with an odd kernel size and zero padding."""

    def __init__(self, weights: Weights) -> None:
        """Takes weights [R, channels, 1, kernel]."""
        self._weights = weights
        self._kernel = weights.values.shape[3]

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes and returns [R, C, L, B]."""
        windows = self._windows(hidden)
        taps = self._taps(self._weights.values)
        gradients, shape = self._taps(self._weights.gradients), hidden.shape

        def backward(gradient: Tensor) -> Tensor:
            spread = gradient.unsqueeze(1)
            gradients.copy_((windows * spread).flatten(3).sum(3).view(gradients.shape))
            if first_layer:
                return gradient
            return sum_windows((spread * taps).flatten(1, 2).flatten(2), self._kernel, shape)

        return (windows * taps).sum(1), backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes and returns [N, C, L, B]."""
        windows = self._windows(hidden)
        return (windows * self._taps(self._weights.at(rows))).sum(1)

    def _windows(self, hidden: Tensor) -> Tensor:
        """Returns [R, kernel, C, L, B]."""
        return to_windows(hidden, self._kernel).view(len(hidden), self._kernel, *hidden.shape[1:])

    def _taps(self, weights: Tensor) -> Tensor:
        """Views [R, C, 1, kernel] as [R, kernel, C, 1, 1]."""
        return weights.squeeze(2).transpose(1, 2).unsqueeze(3).unsqueeze(4)


class Norm:
    """Batch norm (Ioffe and Szegedy 2015).

    Attributes:
        scale: Factors [R, C].
        shift: Summands [R, C].
    """

    def __init__(
        self,
        scale: Weights,
        shift: Weights,
        statistics: tuple[Tensor, Tensor],
        *,
        momentum: float,
        eps: float,
    ) -> None:
        """Takes scale and shift [R, C], and the running mean and variance [R, C]."""
        self.scale, self.shift = scale, shift
        self._mean, self._variance = (each.unsqueeze(2) for each in statistics)
        self._momentum = momentum
        self._eps = self._mean.new_tensor(eps)

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes and returns [R, C, L, B]."""
        del first_layer
        flat = hidden.flatten(2)
        centered, inverse_std = self.standardize(flat)
        scale = self.scale.values.unsqueeze(2) * inverse_std

        def backward(gradient: Tensor) -> Tensor:
            gradient = gradient.flatten(2)
            result = self.through_statistics(gradient, centered, centered, scale, inverse_std)
            return result.addcmul_(gradient, scale).view(hidden.shape)

        output = torch.addcmul(self.shift.values.unsqueeze(2), centered, scale)
        return output.view(hidden.shape), backward

    def standardize(self, flat: Tensor, sign: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the activations minus their means, and 1 / standard deviation [R, C, 1].

        Updates the running statistics, as torch does.

        Args:
            flat: [R, C, L · B].
            sign: [R, C, 1], by which the activations were multiplied; ``None`` for 1.
        """
        count = flat.shape[2]
        total = flat.sum(2, keepdim=True)
        centered = torch.add(flat, total, alpha=-1 / count)
        # The norm takes half the time of ``square().sum()``.
        norm = torch.linalg.vector_norm(centered, dim=2, keepdim=True)
        # The reciprocal of the root of norm^2 / count + eps.
        inverse_std = torch.addcmul(self._eps, norm, norm, value=1 / count).rsqrt_()
        total = total if sign is None else total * sign
        kept = 1 - self._momentum
        self._mean.mul_(kept).add_(total, alpha=self._momentum / count)
        # The running variance is unbiased: norm^2 / (count - 1).
        share = self._momentum / max(1, count - 1)
        self._variance.mul_(kept).addcmul_(norm, norm, value=share)
        return centered, inverse_std

    def through_statistics(  # noqa: PLR0917 - tensors of one computation
        self,
        gradient: Tensor,
        kept: Tensor,
        centered: Tensor,
        scale: Tensor,
        inverse_std: Tensor,
        sign: Tensor | None = None,
    ) -> Tensor:
        """Returns the part of the input's gradient that goes through mean and variance.

        With x̂ = centered * inverse_std, the gradient of the input is
        scale (g - mean(g) - x̂ mean(g x̂)); the caller adds the first term. Sets the gradients of
        scale and shift.

        Args:
            gradient: Of the output, for the elements of ``kept``; it is zero for all others.
            kept: ``centered``, or those of its elements that max pooling has kept.
            centered: What ``standardize`` returned, [R, C, L · B].
            scale: The norm's scale times ``inverse_std``, [R, C, 1].
            inverse_std: What ``standardize`` returned.
            sign: As in ``standardize``.
        """
        total = gradient.sum(2, keepdim=True)
        along = (gradient * kept).sum(2, keepdim=True).mul_(inverse_std)
        self.shift.gradients.copy_(total.squeeze(2))
        self.scale.gradients.copy_((along if sign is None else along * sign).squeeze(2))
        share = scale / -centered.shape[2]
        return torch.addcmul(total.mul_(share), centered, along.mul_(share).mul_(inverse_std))

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes and returns [N, C, L, B]."""
        scale, shift = self.folded(rows)
        return torch.addcmul(shift, hidden.flatten(2), scale).view(hidden.shape)

    def folded(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Returns factor and summand [N, C, 1] that are the norm in evaluation mode."""
        scale = self.scale.values.unsqueeze(2) * (self._variance + self._eps).rsqrt_()
        shift = torch.addcmul(self.shift.values.unsqueeze(2), self._mean, scale, value=-1)
        if rows is not None:
            scale, shift = scale.index_select(0, rows), shift.index_select(0, rows)
        return scale, shift


class LeakyRelu:
    """Leaky ReLU with a positive slope."""

    def __init__(self, slope: float) -> None:
        self._slope = slope

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes and returns [R, C, L, B]."""
        del first_layer
        output = leaky_relu(hidden, self._slope)
        return output, lambda gradient: leaky_relu_backward(gradient, output, self._slope)

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes and returns [N, C, L, B]; overwrites its inputs."""
        del rows
        return leaky_relu_(hidden, self._slope)


class SqueezeExcite:
    """Attention over channels: h * sigmoid(excite(silu(squeeze(mean of h over positions))))."""

    def __init__(self, squeeze: Weights, excite: Weights, bias: Weights) -> None:
        """Takes squeeze [R, inner, C], excite [R, C, inner] and its bias [R, C]."""
        self._squeeze, self._excite, self._bias = squeeze, excite, bias

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes and returns [R, C, L, B]."""
        del first_layer
        length = hidden.shape[2]
        summary = hidden.mean(2)
        inner = product(self._squeeze.values, summary)
        activated = silu(inner)
        excited = product(self._excite.values, activated)
        weights = torch.sigmoid(excited.add_(self._bias.values.unsqueeze(2)))
        spread = weights.unsqueeze(2)

        def backward(gradient: Tensor) -> Tensor:
            for_excited = (gradient * hidden).sum(2).mul_(weights).mul_(1.0 - weights)
            self._excite.gradients.copy_(product(for_excited, activated.transpose(1, 2)))
            self._bias.gradients.copy_(for_excited.sum(2))
            for_inner = product(self._excite.values.transpose(1, 2), for_excited)
            for_inner = silu_backward(for_inner, inner)
            self._squeeze.gradients.copy_(product(for_inner, summary.transpose(1, 2)))
            for_summary = product(self._squeeze.values.transpose(1, 2), for_inner)
            return torch.addcmul(for_summary.div_(length).unsqueeze(2), gradient, spread)

        return hidden * spread, backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes and returns [N, C, L, B]."""
        inner = silu(product(self._squeeze.at(rows), hidden.mean(2)))
        excited = product(self._excite.at(rows), inner).add_(self._bias.at(rows).unsqueeze(2))
        return hidden * torch.sigmoid(excited).unsqueeze(2)


class Classifier:
    """The mean over positions, and a linear layer."""

    def __init__(self, weights: Weights, bias: Weights) -> None:
        """Takes weights [R, classes, C] and bias [R, classes]."""
        self._weights, self._bias = weights, bias

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Takes [R, C, L, B] and returns logits [R, classes, B]."""
        del first_layer
        length = hidden.shape[2]
        mean = hidden.mean(2)

        def backward(gradient: Tensor) -> Tensor:
            self._weights.gradients.copy_(product(gradient, mean.transpose(1, 2)))
            self._bias.gradients.copy_(gradient.sum(2))
            for_mean = product(self._weights.values.transpose(1, 2), gradient)
            return for_mean.div_(length).unsqueeze(2).expand(hidden.shape)

        return product(self._weights.values, mean).add_(self._bias.values.unsqueeze(2)), backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Takes [N, C, L, B] and returns logits [N, classes, B]."""
        logits = product(self._weights.at(rows), hidden.mean(2))
        return logits.add_(self._bias.at(rows).unsqueeze(2))


def run(
    layers: Sequence[Layer], hidden: Tensor, *, first_layer: bool = False
) -> tuple[Tensor, Backward]:
    """Runs layers one after another in training mode.

    Args:
        layers: The layers.
        hidden: The activations.
        first_layer: Whether the gradient of ``hidden`` is not needed.
    """
    steps: list[Backward] = []
    for number, layer in enumerate(layers):
        hidden, step = layer.forward(hidden, first_layer=first_layer and number == 0)
        steps.append(step)

    def backward(gradient: Tensor) -> Tensor:
        for step in reversed(steps):
            gradient = step(gradient)
        return gradient

    return hidden, backward


def run_inference(layers: Sequence[Layer], hidden: Tensor, rows: Rows) -> Tensor:
    """Runs layers one after another in evaluation mode; folds norms into convolutions."""
    folded: Layer | None = None
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if layer is folded:
            continue
        if isinstance(layer, Convolution) and isinstance(following, Norm):
            scale, shift = following.folded(rows)
            hidden, folded = layer.infer_scaled(hidden, rows, scale), following
            hidden.flatten(2).add_(shift)
            continue
        hidden = layer.infer(hidden, rows)
    return hidden


def to_windows(hidden: Tensor, kernel: int) -> Tensor:
    """Stacks each position with its neighbours: [R, C, L, B] to [R, kernel · C, L · B]."""
    if kernel == 1:
        return hidden.flatten(2)
    length = hidden.shape[2]
    padded = pad(hidden, (0, 0, kernel // 2, kernel // 2))
    shifted = [padded[:, :, start : start + length] for start in range(kernel)]
    return torch.cat(shifted, dim=1).flatten(2)


def sum_windows(windows: Tensor, kernel: int, shape: torch.Size) -> Tensor:
    """Adds the parts of windows [R, kernel · C, L · B] where they come from: [R, C, L, B]."""
    parts = windows.view(len(windows), kernel, *shape[1:])
    total = parts[:, kernel // 2]
    length = shape[2]
    for tap in range(kernel):
        shift = tap - kernel // 2  # the window's position minus its centre
        if shift and abs(shift) < length:
            source = slice(max(0, -shift), length - max(0, shift))
            target = slice(max(0, shift), length - max(0, -shift))
            total[:, :, target] += parts[:, tap, :, source]
    return total
