"""One block of a host: convolution, batch norm, optional max pooling, ReLU."""

from __future__ import annotations

import torch
from torch import Tensor

from esper_kasmina._torch import relu_backward
from esper_kasmina.stacks.layers import (
    Backward,
    Convolution,
    Norm,
    Rows,
    Weights,
    product,
    sum_windows,
    to_windows,
)


class Block:
    """A block of all hosts, as few operators as possible.

    Max pooling comes before the norm's scale and shift, on half of the elements. That gives the
    same numbers where the scale is positive, so the sign of a negative scale is moved into the
    convolution: s * norm(conv(x)) = |s| * norm(sign(s) conv(x)).
    """

    def __init__(self, convolution: Weights, norm: Norm, *, pooled: bool) -> None:
        """Takes the weights of the convolution [R, outputs, channels, kernel], and the norm."""
        self._weights, self._norm, self._pooled = convolution, norm, pooled
        self._convolution = Convolution(convolution)
        self._kernel = convolution.values.shape[3]
        self._zero = convolution.values.new_zeros(())
        self._one = convolution.values.new_ones(())

    def forward(self, hidden: Tensor, *, first_layer: bool = False) -> tuple[Tensor, Backward]:
        """Runs the block in training mode: [R, C, L, B] to [R, O, L or L // 2, B].

        Args:
            hidden: The activations.
            first_layer: Whether the gradient of ``hidden`` is not needed. The function may then
                return anything.
        """
        shape, (rows, batch) = hidden.shape, (len(hidden), hidden.shape[3])
        sign = torch.copysign(self._one, self._norm.scale.values).unsqueeze(2)
        matrix = self._convolution.matrix(self._weights.values).mul(sign)
        windows = to_windows(hidden, self._kernel)
        centered, inverse_std = self._norm.standardize(product(matrix, windows), sign)
        scale = self._norm.scale.values.abs().unsqueeze(2).mul_(inverse_std)
        pooled, first_is_larger = centered, None
        if self._pooled:
            first, second = _pairs(centered, shape[2], batch)
            first_is_larger = first >= second
            pooled = torch.maximum(first, second).flatten(2)
        output = torch.addcmul(self._norm.shift.values.unsqueeze(2), pooled, scale).relu_()
        taps = self._weights.gradients.movedim(3, 2)

        def backward(gradient: Tensor) -> Tensor:
            gradient = relu_backward(gradient.flatten(2), output)
            for_conv = self._norm.through_statistics(
                gradient, pooled, centered, scale, inverse_std, sign
            )
            if first_is_larger is None:
                for_conv.addcmul_(gradient, scale)
            else:
                pooled_shape = first_is_larger.shape
                gradient = gradient.mul_(scale).view(pooled_shape)
                for_first = torch.where(first_is_larger, gradient, self._zero)
                first, second = _pairs(for_conv, shape[2], batch)
                first += for_first
                second += gradient.sub_(for_first)
            for_weights = product(for_conv, windows.transpose(1, 2)).mul_(sign)
            taps.copy_(for_weights.view(taps.shape))
            if first_layer:
                return for_conv
            return sum_windows(product(matrix.transpose(1, 2), for_conv), self._kernel, shape)

        return output.view(rows, output.shape[1], -1, batch), backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Runs the block in evaluation mode: [N, C, L, B] to [N, O, L or L // 2, B].

        Args:
            hidden: The activations.
            rows: The host of each row.
        """
        scale, shift = self._norm.folded(rows)
        hidden = self._convolution.infer_scaled(hidden, rows, scale)
        if self._pooled:
            hidden = torch.maximum(*_pairs(hidden.flatten(2), hidden.shape[2], hidden.shape[3]))
        return hidden.add_(shift.unsqueeze(3)).relu_()


def _pairs(flat: Tensor, length: int, batch: int) -> tuple[Tensor, Tensor]:
    """Views [R, C, L · B] as the first and second of each two positions, [R, C, L // 2, B]."""
    positions = flat.view(*flat.shape[:2], length, batch)
    even = length // 2 * 2
    return positions[:, :, 0:even:2], positions[:, :, 1:even:2]
