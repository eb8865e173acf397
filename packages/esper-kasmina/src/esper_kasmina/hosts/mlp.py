"""The MLP host: linear-norm-GELU blocks over a flattened input."""

from __future__ import annotations

import math

from torch import Tensor, nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import HostOptions, MLPHostSpec


class MLPHost(SequentialHost):
    """Blocks and a linear classifier, with a slot after each block.

    Implements Leyline's ``MorphogeneticHost``.
    """

    def __init__(self, spec: MLPHostSpec, options: HostOptions) -> None:
        """Builds the host; ``build_host`` also checks the slots."""
        slots = {
            name: SeedSlot(
                name, ActivationSpec.features(width), rules=options.rules, rng_seed=options.rng_seed
            )
            for name, width in zip(spec.slots, spec.widths, strict=True)
            if name in options.slots
        }
        super().__init__(slots, max_seeds=options.max_seeds)
        self.spec = spec
        inputs = (math.prod(spec.input_shape), *spec.widths[:-1])
        with seeded(options.rng_seed, "host"):
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(features, width), nn.LayerNorm(width), nn.GELU())
                for features, width in zip(inputs, spec.widths, strict=True)
            )
            self.classifier = nn.Linear(spec.widths[-1], spec.classes)
        self._set_blocks(list(self.blocks), [slots.get(name) for name in spec.slots])

    def embed(self, inputs: Tensor) -> Tensor:
        """Flattens [B, ...] to [B, D]."""
        return inputs.flatten(1)

    def head(self, hidden: Tensor) -> Tensor:
        """Takes [B, D] and returns logits [B, classes]."""
        logits: Tensor = self.classifier(hidden)
        return logits
