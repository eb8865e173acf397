"""The transformer host: a pre-norm GPT (Radford et al. 2019) with tied embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import HostOptions, TransformerHostSpec

_INITIAL_STD = 0.02


class CausalAttention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self._split = (3, heads, width // heads)

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, T, D]."""
        parts = self.project(hidden).unflatten(-1, self._split).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output


class TransformerBlock(nn.Module):
    """A pre-norm transformer block: attention and a feed-forward network, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, T, D]."""
        hidden = hidden + self.attention(self.attention_norm(hidden))
        output: Tensor = hidden + self.mlp(self.mlp_norm(hidden))
        return output


class GPTHost(SequentialHost):
    """A language model over tokens [B, T], with a slot after every ``layers_per_slot`` layers.

    Implements Leyline's ``MorphogeneticHost``; its logits are [B, T, vocabulary].
    """

    def __init__(self, spec: TransformerHostSpec, options: HostOptions) -> None:
        """Builds the host; ``build_host`` also checks the slots."""
        kind = ActivationSpec.tokens(spec.width, causal=True)
        slots = {
            name: SeedSlot(name, kind, rules=options.rules, rng_seed=options.rng_seed)
            for name in spec.slots
            if name in options.slots
        }
        super().__init__(slots, max_seeds=options.max_seeds)
        self.spec = spec
        with seeded(options.rng_seed, "host"):
            self.tokens = nn.Embedding(spec.vocabulary, spec.width)
            self.positions = nn.Embedding(spec.block, spec.width)
            self.layers = nn.ModuleList(
                TransformerBlock(spec.width, spec.heads) for _ in range(spec.layers)
            )
            self.norm = nn.LayerNorm(spec.width)
            self._initialize()
        slot_of_layer: list[SeedSlot | None] = [None] * spec.layers
        for index, name in enumerate(spec.slots):
            slot_of_layer[(index + 1) * spec.layers_per_slot - 1] = slots.get(name)
        self._set_blocks(list(self.layers), slot_of_layer)

    def forward(self, inputs: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            inputs: Tokens [B, T], T at most ``spec.block``.
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own alpha.

        Returns:
            Logits [B, T, vocabulary].

        Raises:
            KasminaError: If the sequences are longer than ``spec.block``.
        """
        if inputs.shape[1] > self.spec.block:
            raise KasminaError(
                f"sequences of {inputs.shape[1]} tokens do not fit; "
                f"this host has {self.spec.block} positions"
            )
        return super().forward(inputs, alpha)

    def embed(self, inputs: Tensor) -> Tensor:
        """Embeds tokens [B, T] as [B, T, D]."""
        embedded: Tensor = self.tokens(inputs) + self.positions.weight[: inputs.shape[1]]
        return embedded

    def head(self, hidden: Tensor) -> Tensor:
        """Takes [B, T, D] and returns logits [B, T, vocabulary]."""
        return linear(self.norm(hidden), self.tokens.weight)

    def _initialize(self) -> None:
        """Draws weights as GPT-2 does: residual projections are scaled by 1 / sqrt(2 * layers)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        layers: list[Any] = [*self.layers]
        for layer in layers:
            with torch.no_grad():
                for projection in (layer.attention.out.weight, layer.mlp[2].weight):
                    projection.mul_((2 * self.spec.layers) ** -0.5)
