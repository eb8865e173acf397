"""The CNN host: conv-norm-ReLU blocks with a slot at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from esper_kasmina.blueprints.layers import batch_norm, check_dimensions, convolution
from esper_kasmina.blueprints.signals import halve_signal
from esper_kasmina.errors import KasminaError
from esper_kasmina.host import SlottedHost
from esper_kasmina.randomness import seeded
from esper_kasmina.slot import SeedSlot
from esper_leyline import CNNHostSpec, LifecycleRules

_HALVE: dict[int, Callable[[Tensor], Tensor]] = {
    1: halve_signal,
    2: partial(torch.max_pool2d, kernel_size=2),
}


class ConvBlock(nn.Module):
    """Convolution, batch norm, optional halving of the spatial size, ReLU."""

    def __init__(
        self, channels: int, outputs: int, *, kernel: int, dimensions: int, pooled: bool
    ) -> None:
        super().__init__()
        self.convolution = convolution(channels, outputs, kernel=kernel, dimensions=dimensions)
        self.norm = batch_norm(outputs, dimensions=dimensions)
        self._pool = _HALVE[dimensions] if pooled else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes [B, channels, ...] and returns [B, outputs, ...]."""
        hidden = self.norm(self.convolution(hidden))
        # Pooling first is the same function, as both are monotonic, and ReLU then has
        # a fraction of the elements. Nobody else holds the tensor, so it is reused.
        if self._pool is not None:
            hidden = self._pool(hidden)
        return torch.relu_(hidden)


class CNNHost(SlottedHost):
    """A stack of blocks, global average pooling and a linear classifier.

    Implements Leyline's ``MorphogeneticHost``. One class serves signals and images.
    """

    def __init__(
        self,
        spec: CNNHostSpec,
        *,
        slots: tuple[str, ...],
        rules: LifecycleRules,
        max_seeds: int | None,
        seed: int,
    ) -> None:
        """Builds the host; ``build_host`` checks the slots and is the usual way in."""
        dimensions = check_dimensions(len(spec.input_shape) - 1)
        _check_pooling(spec)
        made = {
            name: SeedSlot(name, width, dimensions=dimensions, rules=rules, seed=seed)
            for name, width in zip(spec.slots, spec.widths, strict=True)
            if name in slots
        }
        super().__init__(made, max_seeds=max_seeds)
        self.spec = spec
        with seeded(seed, "host"):
            self.blocks = nn.ModuleList(_blocks(spec, dimensions))
            self.classifier = nn.Linear(spec.widths[-1], spec.classes)
        at_end = [made.get(name) for name in spec.slots]
        # Resolved once: looking modules up by name costs as much as a small layer.
        self._path = tuple(zip(self.blocks, at_end, strict=True))

    def forward(self, inputs: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            inputs: [B, ...].
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own.

        Returns:
            Logits [B, C].
        """
        if alpha is not None:
            return self._forward_overridden(inputs, alpha)
        hidden = inputs
        for block, slot in self._path:
            hidden = block(hidden)
            if slot is not None and slot.active:
                hidden = slot(hidden)
        return self._classify(hidden)

    def counterfactuals(self, inputs: Tensor, disabled: Sequence[frozenset[str]]) -> Tensor:
        """Runs the network once for each set of slots held at alpha zero.

        Configurations are computed as a tree: they part where the first slot differs,
        and those that differ only in slots without effect are one. Run it in evaluation
        mode without gradients, as any validation.

        Args:
            inputs: [B, ...].
            disabled: The slots to hold at zero in each configuration.

        Returns:
            Logits [len(disabled), B, C].

        Raises:
            KasminaError: If a slot is not enabled.
        """
        for name in frozenset().union(*disabled):
            self.slot(name)
        logits: list[Tensor | None] = [None] * len(disabled)
        self._branch(inputs, 0, list(range(len(disabled))), disabled, logits)
        found = [tensor for tensor in logits if tensor is not None]
        if not found:
            return inputs.new_empty((0, len(inputs), self.spec.classes))
        return torch.stack(found)

    def _branch(
        self,
        hidden: Tensor,
        depth: int,
        wanted: list[int],
        disabled: Sequence[frozenset[str]],
        logits: list[Tensor | None],
    ) -> None:
        if not wanted:
            return
        if depth == len(self._path):
            result = self._classify(hidden)
            for index in wanted:
                logits[index] = result
            return
        block, slot = self._path[depth]
        hidden = block(hidden)
        if slot is None or not slot.active or slot.alpha == 0.0:
            self._branch(hidden, depth + 1, wanted, disabled, logits)
            return
        without = [index for index in wanted if slot.name in disabled[index]]
        self._branch(hidden, depth + 1, without, disabled, logits)
        grown = [index for index in wanted if slot.name not in disabled[index]]
        if grown:
            self._branch(slot(hidden), depth + 1, grown, disabled, logits)

    def _forward_overridden(self, inputs: Tensor, alpha: Tensor) -> Tensor:
        if alpha.shape != (len(inputs), len(self.slots)):
            raise KasminaError(
                f"alpha has shape {tuple(alpha.shape)}; it is one row a sample and one column "
                f"an enabled slot, ({len(inputs)}, {len(self.slots)})"
            )
        columns = dict(zip(self.slots, alpha.unbind(1), strict=True))
        hidden = inputs
        for block, slot in self._path:
            hidden = block(hidden)
            if slot is not None and slot.active:
                hidden = slot(hidden, columns[slot.name])
        return self._classify(hidden)

    def _classify(self, hidden: Tensor) -> Tensor:
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
        smallest += 1 - spec.kernel % 2  # an even kernel pads one more than it takes
        if pooled and smallest < 2:
            raise KasminaError(
                f"an input of {spec.input_shape[1:]} cannot be halved {sum(spec.pools)} times; "
                "pool less often"
            )
        smallest //= 2 if pooled else 1
