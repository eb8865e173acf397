"""Descriptions of data and tasks; Tolaria builds the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from esper_leyline.actions import (
    BUILT_IN_BLUEPRINTS,
    TOPOLOGY_BLUEPRINTS,
    BlendStyle,
    BlueprintName,
    Topology,
)
from esper_leyline.config.host import HostTraining
from esper_leyline.ranges import MOST_BLUEPRINTS, MOST_SLOTS, Classes, Line, Name, Rows, Shape
from esper_leyline.slots import SlotId, order_slots
from esper_leyline.specs.hosts import HostSpec
from esper_leyline.wire import Settings


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
    blueprints: tuple[BlueprintName, ...] = Field(
        strict=False,
        max_length=MOST_BLUEPRINTS,
        description="Blueprints the controller may choose.",
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
        check_blueprints(self.blueprints, self.host.topology)
        if not self.styles:
            raise ValueError("a task allows at least one style")
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


def check_blueprints(wanted: Sequence[str], topology: Topology) -> None:
    """Checks the blueprints that a task allows.

    Added blueprints pass: only the package that builds them knows where they fit.

    Raises:
        ValueError: If there are none, one is repeated, or a built-in one does not fit the topology.
    """
    fitting = TOPOLOGY_BLUEPRINTS[topology]
    if not wanted:
        raise ValueError(f"no blueprints; allow at least one of {', '.join(fitting)}")
    for index, name in enumerate(wanted):
        if name in BUILT_IN_BLUEPRINTS and name not in fitting:
            raise ValueError(
                f"blueprint '{name}' does not fit a host of topology '{topology}'; "
                f"allowed: {', '.join(fitting)}, or an added one"
            )
        if name in wanted[:index]:
            raise ValueError(f"blueprint '{name}' is listed twice; list it once")
