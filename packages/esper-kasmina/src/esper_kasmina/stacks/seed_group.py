"""Seeds of one structure after the same block, computed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from esper_kasmina.slots.slot import SeedSlot
from esper_kasmina.stacks.branches import bind
from esper_kasmina.stacks.layers import Backward, Rows, Weights, product, run, run_inference
from esper_kasmina.stacks.rows import ParameterRows
from esper_leyline import BlendAlgorithm

_BlendBackward = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes the gradient of blended activations; returns those of the host's activations and of the
branch's output."""


class SeedGroup:
    """The seeds of several hosts as one; blends them as ``Seed.blended`` and ``isolate`` do.

    Attributes:
        hosts: The index of each seed's host.
        isolated: Whether the seeds are trained in isolation.
        rows: The seeds' parameters.
    """

    def __init__(self, hosts: Sequence[int], slots: Sequence[SeedSlot]) -> None:
        """Takes slots whose seeds have one structure, and are all isolated or all blended."""
        self.hosts = tuple(hosts)
        self._slots = tuple(slots)
        seeds = [slot.seed for slot in slots if slot.seed is not None]
        self.isolated = slots[0].alpha == 0.0
        self._algorithm = seeds[0].algorithm
        self.rows = ParameterRows([list(seed.parameters()) for seed in seeds])
        scale, *rest = self.rows.weights()
        self._scale = Weights(scale.values.unsqueeze(2), scale.gradients.unsqueeze(2))
        self._gate = rest[-2:] if seeds[0].gate is not None else []
        self._layers = bind(seeds, rest)
        self._strength = torch.ones_like(self._scale.values)
        self.update_strength()

    def update_strength(self) -> None:
        """Takes the seeds' present alphas; an isolated seed is trained at full strength."""
        if not self.isolated:
            for strength, slot in zip(self._strength, self._slots, strict=True):
                strength.fill_(slot.alpha)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Backward]:
        """Blends the seeds with the activations [G, C, L, B] of their hosts, in training mode."""
        change, through_branch = run(self._layers, hidden, first_layer=self.isolated)
        blend = {
            BlendAlgorithm.ADD: self._add,
            BlendAlgorithm.MULTIPLY: self._multiply,
            BlendAlgorithm.GATE: self._add_gated,
        }[self._algorithm]
        output, at_blend = blend(hidden.flatten(2), change.flatten(2))

        def backward(gradient: Tensor) -> Tensor:
            for_hidden, for_change = at_blend(gradient.flatten(2))
            through = through_branch(for_change.view(change.shape))
            # The input of an isolated seed is detached, and its host's output has no seed in it.
            if self.isolated:
                return gradient
            return for_hidden.view(hidden.shape) + through

        return hidden if self.isolated else output.view(hidden.shape), backward

    def infer(self, hidden: Tensor, rows: Rows) -> Tensor:
        """Blends seeds with activations [N, C, L, B] in evaluation mode.

        Args:
            hidden: The activations.
            rows: The seed of each row, by its place in ``hosts``.
        """
        change = run_inference(self._layers, hidden, rows).flatten(2)
        flat = hidden.flatten(2)
        scale, strength = self._scale.values, self._strength
        if rows is not None:
            scale, strength = scale.index_select(0, rows), strength.index_select(0, rows)
        if self._algorithm is BlendAlgorithm.MULTIPLY:
            factor = torch.tanh(change * scale).mul_(strength)
            return torch.addcmul(flat, flat, factor).view(hidden.shape)
        weight = strength * scale
        if self._gate:
            matrix, bias = (each.at(rows) for each in self._gate)
            gate = product(matrix.flatten(2), flat).add_(bias.unsqueeze(2)).sigmoid_()
            weight = gate.mul_(2.0 * weight)
        return torch.addcmul(flat, change, weight).view(hidden.shape)

    def _add(self, hidden: Tensor, change: Tensor) -> tuple[Tensor, _BlendBackward]:
        """Returns h + a c b."""
        weight = self._strength * self._scale.values

        def backward(gradient: Tensor) -> tuple[Tensor, Tensor]:
            self._set_scale_gradient(gradient * change, self._strength)
            return gradient, gradient * weight

        return self._output(hidden, change, weight), backward

    def _multiply(self, hidden: Tensor, change: Tensor) -> tuple[Tensor, _BlendBackward]:
        """Returns h (1 + a tanh(c b))."""
        scale = self._scale.values
        factor = torch.tanh(change * scale)

        def backward(gradient: Tensor) -> tuple[Tensor, Tensor]:
            # d tanh(u) / du = 1 - tanh(u)^2
            inner = (1.0 - factor.square()).mul_(gradient).mul_(hidden).mul_(self._strength)
            self._set_scale_gradient(inner * change, None)
            for_hidden = torch.addcmul(gradient, gradient, factor * self._strength)
            return for_hidden, inner.mul_(scale)

        return self._output(hidden, hidden, factor * self._strength), backward

    def _add_gated(self, hidden: Tensor, change: Tensor) -> tuple[Tensor, _BlendBackward]:
        """Returns h + a c g b, with the gate g = 2 sigmoid(w h + bias)."""
        matrix, bias = self._gate
        vector = matrix.values.flatten(2)
        gate = product(vector, hidden).add_(bias.values.unsqueeze(2)).sigmoid_().mul_(2.0)
        scaled = gate * self._strength  # a g
        weight = scaled * self._scale.values

        def backward(gradient: Tensor) -> tuple[Tensor, Tensor]:
            along = (gradient * change).sum(1, keepdim=True)
            self._set_scale_gradient(along, scaled)
            # dg / dlogit = g (1 - g / 2)
            for_logit = along.mul_(weight).mul_(1.0 - 0.5 * gate)
            for_vector = product(for_logit, hidden.transpose(1, 2))
            matrix.gradients.copy_(for_vector.view(matrix.gradients.shape))
            bias.gradients.copy_(for_logit.sum(2))
            for_hidden = product(vector.transpose(1, 2), for_logit).add_(gradient)
            return for_hidden, gradient * weight

        return self._output(hidden, change, weight), backward

    def _output(self, hidden: Tensor, change: Tensor, weight: Tensor) -> Tensor:
        """Returns h + weight * change; the output of isolated seeds is not used."""
        return hidden if self.isolated else torch.addcmul(hidden, change, weight)

    def _set_scale_gradient(self, along: Tensor, weight: Tensor | None) -> None:
        """Sums ``along`` [G, C, L · B], times ``weight`` [G, 1, ...], to the scale's gradient."""
        if weight is not None and weight.shape[2] > 1:
            along, weight = along * weight, None
        total = along.sum((1, 2)).view(self._scale.gradients.shape)
        self._scale.gradients.copy_(total if weight is None else total.mul_(weight))
