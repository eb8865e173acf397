"""The kind of activations in a slot: feature maps, tokens or feature vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal, get_args

from torch import Tensor

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_leyline import Topology

Layout = Literal["channels_first", "channels_last"]
"""The axis of the channels of feature maps: the second, or the last, as in Swin and ConvNeXt."""

_SPATIAL_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSpec:
    """The kind of activations at one point of a network. Only the number of channels is fixed.

    Make one with ``maps``, ``tokens`` or ``features``.

    Attributes:
        topology: Maps, tokens or vectors; it decides which blueprints fit.
        channels: Channels of maps, width of tokens and vectors.
        dimensions: Spatial dimensions of maps; 0 for tokens and vectors.
        layout: Order of the axes of maps. It is not their memory format
            (``torch.channels_last``).
        causal: Whether a token must not depend on later tokens, as in a language model.
        batch_first: Whether tokens are [B, T, D] and not [T, B, D].
    """

    topology: Topology
    channels: int
    dimensions: int = 0
    layout: Layout = "channels_first"
    causal: bool = False
    batch_first: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.channels, Integral) or self.channels < 1:
            raise KasminaError(
                f"a slot of {shown(self.channels)} channels cannot hold a seed; give at least 1"
            )
        if self.topology is Topology.CNN and self.dimensions not in _SPATIAL_AXES:
            raise KasminaError(
                f"{self.dimensions} spatial dimensions are not supported; "
                "use 1 for signals, 2 for images or 3 for volumes and videos"
            )
        if self.layout not in get_args(Layout):
            raise KasminaError(
                f"the layout is {shown(self.layout)}; give 'channels_first' or 'channels_last'"
            )

    @classmethod
    def maps(
        cls, channels: int, *, dimensions: int = 2, layout: Layout = "channels_first"
    ) -> ActivationSpec:
        """Describes feature maps.

        Args:
            channels: C.
            dimensions: 1 for signals [B, C, L], 2 for images [B, C, H, W], 3 for volumes
                and videos [B, C, D, H, W].
            layout: ``"channels_last"`` for [B, ..., C], such as [B, H, W, C].
        """
        return cls(topology=Topology.CNN, channels=channels, dimensions=dimensions, layout=layout)

    @classmethod
    def tokens(
        cls, width: int, *, causal: bool = False, batch_first: bool = True
    ) -> ActivationSpec:
        """Describes tokens [B, T, D].

        Args:
            width: D.
            causal: Set it in a language model, or attention seeds would see later tokens.
            batch_first: ``False`` for tokens [T, B, D].
        """
        return cls(
            topology=Topology.TRANSFORMER, channels=width, causal=causal, batch_first=batch_first
        )

    @classmethod
    def features(cls, width: int) -> ActivationSpec:
        """Describes feature vectors [B, D]."""
        return cls(topology=Topology.MLP, channels=width)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return {Topology.CNN: 2 + self.dimensions, Topology.TRANSFORMER: 3, Topology.MLP: 2}[
            self.topology
        ]

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        second = self.topology is Topology.CNN and self.layout == "channels_first"
        return 1 if second else self.rank - 1

    @property
    def batch_axis(self) -> int:
        """The axis of the samples."""
        return 0 if self.batch_first else 1

    def channels_second(self) -> ActivationSpec:
        """Returns maps with layout ``"channels_first"``; tokens and vectors stay the same."""
        return replace(self, layout="channels_first")

    def fits(self, hidden: Tensor) -> bool:
        """Whether a tensor is of this kind."""
        return hidden.dim() == self.rank and hidden.shape[self.channel_axis] == self.channels

    def is_single_value(self, hidden: Tensor) -> bool:
        """Whether a tensor has one number per channel: one sample with one position."""
        return hidden.numel() == self.channels

    def column(self, values: Tensor) -> Tensor:
        """Reshapes one value per sample, [B], so that it broadcasts over the activations."""
        shape = [1] * self.rank
        shape[self.batch_axis] = -1
        return values.reshape(shape)

    def __str__(self) -> str:
        """Returns the shape, such as ``[B, 64, H, W]``."""
        if self.topology is Topology.CNN:
            spatial = _SPATIAL_AXES[self.dimensions]
            if self.layout == "channels_last":
                return f"[B, {spatial}, {self.channels}]"
            return f"[B, {self.channels}, {spatial}]"
        if self.topology is Topology.MLP:
            return f"[B, {self.channels}]"
        return f"[{'B, T' if self.batch_first else 'T, B'}, {self.channels}]"
