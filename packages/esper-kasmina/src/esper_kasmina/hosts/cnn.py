"""The CNN host: conv-norm-ReLU blocks with a slot at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.layers.builders import batch_norm, convolution
from esper_kasmina.layers.pooled_norm import can_pool_first, pooled_batch_norm
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.layers.signals import max_pool_2x
from esper_kasmina.slots.slot import SeedSlot
from esper_kasmina.stacks.signal_stack import SignalStack
from esper_leyline import CNNHostSpec, HostOptions, MorphogeneticHost
from esper_leyline.ports import HostStack

_MAX_POOL: dict[int, Callable[[Tensor], Tensor]] = {
    1: max_pool_2x,
    2: partial(torch.max_pool2d, kernel_size=2),
}


class ConvBlock(nn.Module):
    """Convolution, batch norm, optional 2x max pooling, ReLU."""

    def __init__(
        self, channels: int, outputs: int, *, kernel: int, dimensions: int, pooled: bool
    ) -> None:
        super().__init__()
        self.convolution = convolution(channels, outputs, kernel=kernel, dimensions=dimensions)
        self.norm = batch_norm(outputs, dimensions=dimensions)
        self._pool = _MAX_POOL[dimensions] if pooled else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes [B, channels, ...] and returns [B, outputs, ...]."""
        hidden = self.convolution(hidden)
        norm = self.norm
        if isinstance(norm, nn.BatchNorm2d) and self._pool and can_pool_first(norm, hidden):
            pooled = pooled_batch_norm(norm, hidden)
            if pooled is not None:
                return pooled
        hidden = self.norm(hidden)
        # ReLU is monotonic, so it can be computed after max pooling, on fewer elements. It is in
        # place, because nothing else uses the tensor.
        if self._pool is not None:
            hidden = self._pool(hidden)
        return torch.relu_(hidden)


STACKED_PARAMETERS = 5_000
"""Hosts for signals with fewer parameters than this are faster if computed together."""


class CNNHost(SequentialHost):
    """Blocks, global average pooling and a linear classifier, for signals or images.

    There is a slot after each block. Implements Leyline's ``MorphogeneticHost``.
    """

    def __init__(self, spec: CNNHostSpec, options: HostOptions) -> None:
        """Builds the host; ``build_host`` also checks the slots."""
        dimensions = len(spec.input_shape) - 1
        _check_pooling(spec)
        slots = {
            name: SeedSlot(
                name,
                ActivationSpec.maps(width, dimensions=dimensions),
                rules=options.rules,
                rng_seed=options.rng_seed,
            )
            for name, width in zip(spec.slots, spec.widths, strict=True)
            if name in options.slots
        }
        super().__init__(slots, max_seeds=options.max_seeds)
        self.spec = spec
        with seeded(options.rng_seed, "host"):
            self.blocks = nn.ModuleList(_blocks(spec, dimensions))
            self.classifier = nn.Linear(spec.widths[-1], spec.classes)
        self._images = dimensions == 2
        if self._images:
            # On a CPU it takes half the time with channels last.
            self.to(memory_format=torch.channels_last)
            for slot in slots.values():
                slot.channels_last = True
        self._set_blocks(list(self.blocks), [slots.get(name) for name in spec.slots])

    def stack(self, others: Sequence[MorphogeneticHost]) -> HostStack | None:
        """Returns this host and others as one module; ``None`` for images and large hosts."""
        small = self.parameter_counts().host < STACKED_PARAMETERS
        if self._images or not small or self.spec.kernel % 2 == 0:
            return None
        same_class: list[Any] = [each for each in others if isinstance(each, CNNHost)]
        return SignalStack([self, *same_class])

    def embed(self, inputs: Tensor) -> Tensor:
        """Returns images [B, C, H, W] in channels-last order, and signals unchanged."""
        return inputs.contiguous(memory_format=torch.channels_last) if self._images else inputs

    def head(self, hidden: Tensor) -> Tensor:
        """Takes [B, C, ...] and returns logits [B, classes]."""
        logits: Tensor = self.classifier(hidden.flatten(2).mean(2))
        return logits


def _blocks(spec: CNNHostSpec, dimensions: int) -> list[ConvBlock]:
    inputs = (spec.input_shape[0], *spec.widths[:-1])
    return [
        ConvBlock(channels, width, kernel=spec.kernel, dimensions=dimensions, pooled=pooled)
        for channels, width, pooled in zip(inputs, spec.widths, spec.pools, strict=True)
    ]


def _check_pooling(spec: CNNHostSpec) -> None:
    smallest = min(spec.input_shape[1:])
    for pooled in spec.pools:
        smallest += 1 - spec.kernel % 2  # an even kernel size adds one position
        if pooled and smallest < 2:
            raise KasminaError(
                f"an input of {spec.input_shape[1:]} cannot be halved {sum(spec.pools)} times; "
                "pool less often"
            )
        smallest //= 2 if pooled else 1
