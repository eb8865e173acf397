"""Computes several small hosts of one spec together, with one operator per layer for all hosts.

A host of a few hundred parameters spends its time on calls of operators. Here the weights of each
host are one row of a matrix, and every layer is a batched matrix product over [K, C, L·B]. The
hosts' own parameters are views of the rows, so reports, snapshots, seeds and harvests work as
before. Seeds differ between hosts and run host by host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm, pad

from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import CNNHostSpec

_ALIGNMENT = 64
"""The length of a row is a multiple of this. Elementwise kernels round differently at the end of a
tensor, so without padding the update of a weight would depend on the number of hosts."""


class SignalHost(Protocol):
    """The attributes of a host that a stack uses: blocks for signals, and a classifier."""

    spec: CNNHostSpec
    blocks: nn.ModuleList
    classifier: nn.Linear
    training: bool

    @property
    def slotted_blocks(self) -> tuple[tuple[nn.Module, SeedSlot | None], ...]:
        """The blocks in order, each with the enabled slot after it or ``None``."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block of all hosts: running statistics [K, O], and the slot of each host after it."""

    outputs: int
    kernel: int
    pooled: bool
    mean: Tensor
    variance: Tensor
    slots: tuple[SeedSlot | None, ...]


class SignalStack(nn.Module):
    """K hosts for signals [B, C, L] as one module; implements Leyline's ``HostStack``.

    Results differ from those of the hosts by rounding only. A host's results do not depend on the
    other hosts in the stack: a single host is computed with a second, empty row, because a product
    of one matrix rounds differently from a product of several.

    Attributes:
        weights: [max(K, 2), P], the parameters of each host in one row, padded with zeros. While
            the stack is in use, train this and not the hosts' parameters.
    """

    def __init__(self, hosts: Sequence[SignalHost]) -> None:
        """Makes the hosts' parameters views of ``weights``.

        Raises:
            KasminaError: If the hosts have different specs, or are not for signals.
        """
        super().__init__()
        _check(hosts)
        self.hosts = tuple(hosts)  # a tuple, so that their parameters are not counted twice
        self._rows = max(2, len(hosts))
        own = [_own_parameters(host) for host in hosts]
        self._shapes = [parameter.shape for parameter in own[0]]
        self._sizes = [parameter.numel() for parameter in own[0]]
        # Pads each row to the alignment.
        self._sizes.append(-sum(self._sizes) % _ALIGNMENT)
        weights = own[0][0].new_zeros(self._rows, sum(self._sizes))
        self.weights = nn.Parameter(weights)
        for row, parameters in zip(self._views(self.weights.data), own, strict=False):
            for view, parameter in zip(row, parameters, strict=True):
                view.copy_(parameter.detach())
                parameter.data = view
        self._layers = [self._stack_layer(depth) for depth in range(len(hosts[0].spec.widths))]

    def forward(self, inputs: Tensor) -> Tensor:
        """Runs every host on the same signals.

        Args:
            inputs: [B, C, L].

        Returns:
            Logits [K, B, classes].
        """
        length, batch = inputs.shape[2], len(inputs)
        parts = iter(self.weights.split(self._sizes, dim=1))
        hidden = inputs.permute(1, 2, 0).expand(self._rows, -1, -1, -1)
        for layer in self._layers:
            hidden = self._run_block(layer, hidden, (next(parts), next(parts), next(parts)))
            hidden = self._run_seeds(layer, hidden)
            length = hidden.shape[2]
        assert hidden.shape[2:] == (length, batch)
        classifier, bias = next(parts), next(parts)
        matrix = classifier.view(self._rows, -1, hidden.shape[1])
        logits = torch.baddbmm(bias.unsqueeze(2), matrix, hidden.mean(2))
        return logits[: len(self.hosts)].transpose(1, 2)

    def share_gradients(self) -> None:
        """Sets the gradients of each host's own parameters to views of its row of the gradients."""
        gradient = self.weights.grad
        assert gradient is not None, "call backward first"
        for row, host in zip(self._views(gradient), self.hosts, strict=False):
            for view, parameter in zip(row, _own_parameters(host), strict=True):
                parameter.grad = view

    def _run_block(
        self, layer: _Layer, hidden: Tensor, weights: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Runs one block of all hosts: [K, C, L, B] to [K, O, L or L // 2, B]."""
        kernel, scale, shift = weights
        length, batch = hidden.shape[2:]
        matrix = kernel.view(self._rows, layer.outputs, -1)
        hidden = torch.bmm(matrix, _windows(hidden, layer.kernel).flatten(2))
        hidden = batch_norm(
            hidden.view(1, self._rows * layer.outputs, -1),
            layer.mean.view(-1),
            layer.variance.view(-1),
            scale.reshape(-1),
            shift.reshape(-1),
            training=self.hosts[0].training,
        ).view(self._rows, layer.outputs, length, batch)
        if layer.pooled:
            hidden = _MaxPool2x.apply(hidden)
        return torch.relu_(hidden)

    def _run_seeds(self, layer: _Layer, hidden: Tensor) -> Tensor:
        """Runs the seeds after a block, host by host."""
        if not any(slot is not None and slot.active for slot in layer.slots):
            return hidden
        by_host = list(hidden.unbind(0))
        for index, slot in enumerate(layer.slots):
            if slot is not None and slot.active:
                by_host[index] = slot(by_host[index].permute(2, 0, 1)).permute(1, 2, 0)
        return torch.stack(by_host)

    def _stack_layer(self, depth: int) -> _Layer:
        """Stacks the running statistics of one block, and makes the hosts' own ones views."""
        blocks, slots = zip(*(host.slotted_blocks[depth] for host in self.hosts), strict=True)
        spec = self.hosts[0].spec
        mean = self.weights.new_zeros(self._rows, spec.widths[depth])
        variance = torch.ones_like(mean)
        for index, block in enumerate(blocks):
            for stacked, name in ((mean, "running_mean"), (variance, "running_var")):
                stacked[index] = getattr(block.norm, name)
                setattr(block.norm, name, stacked[index])
        return _Layer(spec.widths[depth], spec.kernel, spec.pools[depth], mean, variance, slots)

    def _views(self, rows: Tensor) -> list[list[Tensor]]:
        """Views each row [P] as tensors with the shapes of the parameters."""
        bounds = [0, *accumulate(self._sizes)]
        return [
            [
                row[first:last].view(shape)
                for first, last, shape in zip(bounds, bounds[1:], self._shapes, strict=False)
            ]
            for row in rows
        ]


class _MaxPool2x(torch.autograd.Function):
    """Max pooling with kernel size 2: [K, C, L, B] to [K, C, L // 2, B].

    The backward pass is written here, because torch's backward pass of ``maximum`` took a third of
    a stack's training time. Of two equal neighbours the first gets the gradient, as in
    ``max_pool1d``.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        length = hidden.shape[2]
        even = length - length % 2
        first, second = hidden[:, :, 0:even:2], hidden[:, :, 1:even:2]
        ctx.save_for_backward(first >= second)
        ctx.length = length
        return torch.maximum(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (first_is_larger,) = ctx.saved_tensors
        first = torch.where(first_is_larger, gradient, 0.0)
        pairs = torch.stack((first, gradient - first), dim=3)
        for_hidden = pairs.flatten(2, 3)
        return pad(for_hidden, (0, 0, 0, 1)) if ctx.length % 2 else for_hidden


def _windows(hidden: Tensor, kernel: int) -> Tensor:
    """Stacks each position with its neighbours: [K, C, L, B] to [K, C · kernel, L, B]."""
    if kernel == 1:
        return hidden
    length = hidden.shape[2]
    padded = pad(hidden, (0, 0, kernel // 2, kernel // 2))
    return torch.stack([padded[:, :, i : i + length] for i in range(kernel)], 2).flatten(1, 2)


def _own_parameters(host: SignalHost) -> list[nn.Parameter]:
    """Returns the host's parameters in the order of the layers that use them."""
    layers: list[Any] = []
    for block in host.blocks:
        layers += [block.convolution, block.norm]
    return [
        *(parameter for layer in layers for parameter in layer.parameters()),
        *host.classifier.parameters(),
    ]


def _check(hosts: Sequence[SignalHost]) -> None:
    if not hosts:
        raise KasminaError("no hosts to stack; give at least one")
    spec = hosts[0].spec
    if any(host.spec != spec for host in hosts):
        raise KasminaError("hosts of different specs cannot be stacked; stack those of one kind")
    if len(spec.input_shape) != 2 or spec.kernel % 2 == 0:
        raise KasminaError(
            f"hosts over inputs {spec.input_shape} with kernel {spec.kernel} are not stacked; "
            "stack those over signals [C, L] with odd kernels"
        )
