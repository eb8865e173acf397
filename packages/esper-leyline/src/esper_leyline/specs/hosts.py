"""Descriptions of hosts; Kasmina builds the real ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esper_leyline.actions import Topology
from esper_leyline.ranges import MOST_SLOTS, Classes, Shape, Width, Widths
from esper_leyline.wire import Settings

MOST_LAYERS = 1024
"""Layers of a transformer."""


class CNNHostSpec(Settings):
    """A stack of conv-norm-ReLU blocks, global average pooling and a linear classifier.

    Attributes:
        input_shape: Channels, then one or two spatial sizes.
        widths: Output channels of each block; every block end is a slot.
        pools: Whether each block halves the spatial size.
    """

    kind: Literal["cnn"] = "cnn"
    input_shape: Shape = Field(strict=False, min_length=2)
    classes: Classes
    widths: Widths
    kernel: int = Field(default=3, ge=1, le=1023)
    pools: tuple[bool, ...] = Field(strict=False, max_length=MOST_SLOTS)

    @model_validator(mode="after")
    def _one_pool_a_block(self) -> CNNHostSpec:
        if len(self.pools) != len(self.widths):
            raise ValueError(
                f"{len(self.pools)} pools for {len(self.widths)} blocks; give one each"
            )
        return self

    @property
    def topology(self) -> Topology:
        """The family, which decides the blueprints."""
        return Topology.CNN

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots this host offers, row-major."""
        return tuple(f"r0c{column}" for column in range(len(self.widths)))


class MLPHostSpec(Settings):
    """A stack of linear-norm-GELU blocks over a flattened input, and a linear classifier.

    Attributes:
        input_shape: Of one sample, channels first.
        widths: Features of each block; every block end is a slot.
    """

    kind: Literal["mlp"] = "mlp"
    input_shape: Shape
    classes: Classes
    widths: Widths

    @property
    def topology(self) -> Topology:
        """The family, which decides the blueprints."""
        return Topology.MLP

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots this host offers, row-major."""
        return tuple(f"r0c{column}" for column in range(len(self.widths)))


class TransformerHostSpec(Settings):
    """A pre-layer-norm GPT with a tied output head."""

    kind: Literal["transformer"] = "transformer"
    vocabulary: Classes
    width: Width
    heads: Width
    layers: int = Field(ge=1, le=MOST_LAYERS)
    block: Width = Field(description="Longest sequence, in tokens.")
    layers_per_slot: int = Field(default=2, ge=1, le=MOST_LAYERS)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TransformerHostSpec:
        if self.width % self.heads:
            raise ValueError(
                f"a width of {self.width} cannot be shared by {self.heads} heads; "
                "make it a multiple of the heads"
            )
        return self

    @property
    def topology(self) -> Topology:
        """The family, which decides the blueprints."""
        return Topology.TRANSFORMER

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots this host offers, row-major."""
        return tuple(f"r0c{column}" for column in range(self.layers // self.layers_per_slot))


HostSpec = Annotated[CNNHostSpec | MLPHostSpec | TransformerHostSpec, Field(discriminator="kind")]
