"""What a checkpoint says of itself, readable without loading its tensors."""

from __future__ import annotations

from pydantic import Field

from esper_leyline.actions import BlueprintName
from esper_leyline.config.training import TrainingConfig
from esper_leyline.ranges import MOST_BLUEPRINTS, MOST_ROUNDS, MOST_SLOTS, Name, Parameters, RunId
from esper_leyline.slots import SlotId
from esper_leyline.wire import Settings

CHECKPOINT_VERSION = 6
"""Raised when files of earlier versions cannot be read; 3 has a checksum, 4 the learning rate's
scale, 5 the names of the blueprints and no part of the environment, 6 is a safetensors file."""


class CheckpointManifest(Settings):
    """The facts that decide whether and how a checkpoint can be loaded.

    Attributes:
        rounds_completed: PPO rounds whose updates the weights contain.
        slots: The slots the policy was built for, row-major.
        blueprints: The blueprints by row of the policy's embedding; ``None`` is the row of an
            empty slot. The other rows are the choices of the blueprint head, in this order.
        group: The comparison that the run is an arm of, also once it is taken up again.
        observation_size: Floats a report encodes to, before embeddings.
    """

    checkpoint_version: int = Field(default=CHECKPOINT_VERSION, ge=1, le=1_000_000)
    run_id: RunId
    task: Name
    rounds_completed: int = Field(ge=0, le=MOST_ROUNDS)
    slots: tuple[SlotId, ...] = Field(min_length=1, strict=False, max_length=MOST_SLOTS)
    observation_size: int = Field(ge=1, le=1_000_000)
    policy_parameters: Parameters
    blueprints: tuple[BlueprintName | None, ...] = Field(
        min_length=2, strict=False, max_length=2 * MOST_BLUEPRINTS
    )
    torch_version: Name
    config: TrainingConfig
    group: RunId | None = None
