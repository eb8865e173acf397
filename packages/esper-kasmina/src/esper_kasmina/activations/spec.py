"""What flows through a slot: feature maps, tokens or feature vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal, get_args

from torch import Tensor

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_leyline import Topology

Layout = Literal["channels_first", "channels_last"]
"""Where feature maps have their channels: second, or last, as in Swin and ConvNeXt."""

_SPATIAL_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSpec:
    """The kind of tensor at one place of a network; its sizes but for the channels may vary.

    Make one with ``maps``, ``tokens`` or ``features``.

    Attributes:
        topology: Decides which blueprints fit.
        channels: Channels of maps, width of tokens and vectors.
        dimensions: Spatial dimensions of maps, 0 elsewhere.
        layout: Order of the axes of maps. This is their shape, not their order in memory
            (``torch.channels_last``), which may be any.
        causal: Whether tokens may look back only, as in a language model.
        batch_first: Whether tokens are [B, T, D] rather than [T, B, D].
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
        """Describes tokens [B, T, D], or [T, B, D] where the batch comes second.

        Say ``causal`` in a language model: attention seeds would see the future otherwise.
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
        """Returns the same maps with the channels second; others as they are."""
        return replace(self, layout="channels_first")

    def fits(self, hidden: Tensor) -> bool:
        """Whether a tensor is what this describes."""
        return hidden.dim() == self.rank and hidden.shape[self.channel_axis] == self.channels

    def is_single_value(self, hidden: Tensor) -> bool:
        """Whether a tensor holds one number a channel: one sample of one position."""
        return hidden.numel() == self.channels

    def column(self, values: Tensor) -> Tensor:
        """Shapes one value a sample, [B], so that it broadcasts over the activations."""
        shape = [1] * self.rank
        shape[self.batch_axis] = -1
        return values.reshape(shape)

    def __str__(self) -> str:
        """Returns the shape as people write it, such as ``[B, 64, H, W]``."""
        if self.topology is Topology.CNN:
            spatial = _SPATIAL_AXES[self.dimensions]
            if self.layout == "channels_last":
                return f"[B, {spatial}, {self.channels}]"
            return f"[B, {self.channels}, {spatial}]"
        if self.topology is Topology.MLP:
            return f"[B, {self.channels}]"
        return f"[{'B, T' if self.batch_first else 'T, B'}, {self.channels}]"
