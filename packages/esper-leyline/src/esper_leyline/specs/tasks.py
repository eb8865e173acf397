"""Descriptions of hosts, data and tasks; Kasmina and Tolaria build the real things."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from esper_leyline.actions import TOPOLOGY_BLUEPRINTS, BlendStyle, Blueprint, Topology
from esper_leyline.ranges import (
    MOST_SLOTS,
    Batches,
    Classes,
    LearningRate,
    Line,
    Name,
    Positive,
    Rows,
    Shape,
    Weight,
    Width,
    Widths,
)
from esper_leyline.slots import SlotId, order_slots
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


class DataSpec(Settings):
    """A data set in three splits: training, validation (all decisions), test (report only).

    Over text, a row is a sequence of tokens and its target the token after each.
    """

    name: Name
    source: Line = Field(description="Where the data comes from, in words.")
    input_shape: Shape = Field(strict=False, description="Of one row; over text its length alone.")
    classes: Classes = Field(description="What a target may be; over text the vocabulary.")
    train_size: Rows
    validation_size: Rows
    test_size: Rows
    shared: Literal[True] = Field(
        default=True,
        description="All hosts, whatever their seed, use the same rows in the same order.",
    )


class Augmentation(Settings):
    """Random changes to training images, drawn for every host and epoch."""

    crop_padding: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Pixels by which training images are shifted at most; 0: none.",
    )
    flip: bool = Field(default=False, description="Mirror training images left to right at random.")

    @property
    def changes_nothing(self) -> bool:
        """Whether images stay as they are."""
        return self.crop_padding == 0 and not self.flip


class HostTraining(Settings):
    """How a host and its seeds are trained."""

    optimizer: Literal["sgd", "adamw"] = Field(
        default="sgd", description="Optimizer of hosts and seeds."
    )
    learning_rate: LearningRate = Field(default=0.05, description="Learning rate of the host.")
    seed_learning_rate: LearningRate = Field(default=0.05, description="Learning rate of seeds.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: Weight = Field(default=0.0, description="Weight decay.")
    batch_size: int = Field(default=128, ge=1, le=1_000_000, description="Rows of a batch.")
    max_batches: Batches = Field(default=0, description="Most batches in an epoch; 0: all.")
    max_grad_norm: Positive = Field(
        default=5.0, description="Norm that the host's gradient is clipped to."
    )
    seed_max_grad_norm: Positive | None = Field(
        default=None, description="Norm that each seed's gradient is clipped to. None: the host's."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of a target that is spread over all classes."
    )
    augmentation: Augmentation = Augmentation()

    def batches(self, rows: int) -> int:
        """Returns how many batches an epoch over so many training rows has."""
        whole = math.ceil(rows / self.batch_size)
        return min(whole, self.max_batches or whole)


class TaskSpec(Settings):
    """A host, its data and how it trains: what ``--task`` names."""

    name: Name
    description: Line
    host: HostSpec
    data: DataSpec
    training: HostTraining = HostTraining()
    slots: tuple[SlotId, ...] = Field(
        strict=False, max_length=MOST_SLOTS, description="Slots enabled by default."
    )
    blueprints: tuple[Blueprint, ...] = Field(
        strict=False, max_length=len(Blueprint), description="Blueprints the controller may choose."
    )
    styles: tuple[BlendStyle, ...] = Field(
        strict=False,
        max_length=len(BlendStyle),
        description="Blend styles the controller may choose.",
    )
    min_fossilize_improvement: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Points of accuracy that rules ask of a seed that stays.",
    )

    @model_validator(mode="after")
    def _fits_its_host(self) -> TaskSpec:
        check_slots(self.slots, self.host.slots)
        for blueprint in self.blueprints:
            if blueprint not in TOPOLOGY_BLUEPRINTS[self.host.topology]:
                raise ValueError(f"{blueprint.name} does not fit a {self.host.topology} host")
        if not self.blueprints or not self.styles:
            raise ValueError("a task allows at least one blueprint and one style")
        return self


def check_slots(wanted: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the wanted slots row-major.

    Raises:
        ValueError: If there are none, or one that the host does not offer.
    """
    missing = [slot for slot in wanted if slot not in offered]
    if missing:
        raise ValueError(f"the host has no slot '{missing[0]}'; it offers {', '.join(offered)}")
    if not wanted:
        raise ValueError(f"no slots enabled; enable at least one of {', '.join(offered)}")
    return order_slots(wanted)
