"""Telemetry profiles: what is measured on live hosts besides their losses and accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from esper_leyline.wire import WIRE_CONFIG, Float

ProfileName = Literal["minimal", "standard", "diagnostic", "research"]

PERCENTILES = (5, 50, 95)
"""The percentiles of the absolute values of a gradient that profiles measure."""

EXPLODING_VALUE = 1.0
"""A value of a gradient above this, or one that is not finite, counts as exploding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a telemetry profile measures, and how often.

    Measured in every epoch whose number is a multiple of ``every``, and in the last epoch of an
    episode.

    Attributes:
        every: Epochs between two measurements.
        gradient_values: Percentiles of gradients, and their shares of zero and exploding values;
            norms of gradients and weights are always measured.
        class_accuracy: Validation accuracy by class, for tasks with one target per row.
        sharpness: Sharpness of the loss, in the last epoch of an episode.
    """

    name: ProfileName
    every: int
    gradient_values: bool = False
    class_accuracy: bool = False
    sharpness: bool = False


PROFILES: Mapping[ProfileName, Profile | None] = MappingProxyType(
    {
        "minimal": None,
        "standard": Profile(name="standard", every=10),
        "diagnostic": Profile(
            name="diagnostic", every=5, gradient_values=True, class_accuracy=True
        ),
        "research": Profile(
            name="research", every=1, gradient_values=True, class_accuracy=True, sharpness=True
        ),
    }
)
"""The profiles by name, each with all of the one before it; ``minimal`` measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProfile:
    """The gradients and weights of one layer of a host, or of one of its seeds.

    A layer is a module with parameters of its own; its gradient and its weights are those of all
    these parameters. Gradients are those of the epoch's last batch, before clipping, and ``None``
    for a layer that got none; weights are those at the end of the epoch.

    Attributes:
        name: Name of the module in the host.
        gradient_norm: L2 norm of its gradient.
        gradient_percentiles: Of the gradient's absolute values, by percentile.
        zero_share: Share of the gradient's values that are zero, 0 to 1.
        exploding_share: Share of the gradient's values that are above ``EXPLODING_VALUE`` in
            absolute value, or not finite, 0 to 1.
        weight_norm: L2 norm of its weights.
    """

    __pydantic_config__ = WIRE_CONFIG

    name: str
    gradient_norm: Float | None = None
    gradient_percentiles: dict[int, Float] = field(default_factory=dict)
    zero_share: Float | None = None
    exploding_share: Float | None = None
    weight_norm: Float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpness:
    """How the validation loss rises around the weights, in random directions.

    Each filter of a direction has the norm of the filter of the weights (Li et al., "Visualizing
    the Loss Landscape of Neural Nets", 2018); biases and norm layers are left as they are.

    Attributes:
        radius: Length of the steps, as a share of the norm of each filter.
        directions: Number of directions; steps are made forward and backward in each.
        mean_rise: Mean change of the loss over all steps, in nats.
        largest_rise: The largest of these changes, in nats.
    """

    __pydantic_config__ = WIRE_CONFIG

    radius: Float
    directions: int
    mean_rise: Float
    largest_rise: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProfile:
    """What a telemetry profile measured on one live host in an epoch.

    Attributes:
        profile: Name of the profile.
        layers: Gradients and weights by layer.
        class_accuracy: Validation accuracy by class, in percent; ``None`` for a class without
            samples; empty where it was not measured.
        sharpness: ``None`` where it was not measured.
        seconds: Wall time of the measurement.
    """

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["profile_measured"] = "profile_measured"
    profile: ProfileName
    layers: tuple[LayerProfile, ...] = ()
    class_accuracy: tuple[Float | None, ...] = ()
    sharpness: Sharpness | None = None
    seconds: Float
