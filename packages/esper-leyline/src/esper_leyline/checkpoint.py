"""What a checkpoint says of itself, readable without loading its tensors."""

from __future__ import annotations

from pydantic import Field

from esper_leyline.config import TrainingConfig
from esper_leyline.slots import SlotId
from esper_leyline.wire import Contract

CHECKPOINT_VERSION = 2


class CheckpointManifest(Contract):
    """The facts that decide whether and how a checkpoint can be loaded.

    Attributes:
        rounds_completed: PPO rounds whose updates the weights contain.
        slots: The slots the policy was built for, row-major.
        group: The comparison that the run is an arm of, also once it is taken up again.
        observation_size: Floats a report encodes to, before embeddings.
    """

    checkpoint_version: int = CHECKPOINT_VERSION
    run_id: str
    task: str
    rounds_completed: int = Field(ge=0)
    slots: tuple[SlotId, ...]
    observation_size: int
    policy_parameters: int
    torch_version: str
    config: TrainingConfig
    group: str | None = None
