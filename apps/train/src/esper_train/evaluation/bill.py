"""What the training of a policy took, from what its checkpoint counts."""

from __future__ import annotations

from esper_tolaria import get_task
from esper_train.evaluation.arms import CheckpointArm
from esper_train.evaluation.flops import FlopCounter
from esper_train.evaluation.results import TrainingBill


def training_bill(arm: CheckpointArm) -> TrainingBill:
    """Counts the hosts that a policy was trained on, and what they computed at least.

    A checkpoint counts the actions of its rounds, one for each epoch of a host, and not
    which seeds trained in which epoch. So the FLOPs are those of hosts without seeds: their
    training, and one validation after each epoch.
    """
    rounds = arm.state["rounds"]
    epochs = sum(sum(each["ops"].values()) for each in rounds)
    config = arm.manifest.config
    flops = FlopCounter(get_task(arm.manifest.task), config)
    return TrainingBill(
        rounds=len(rounds),
        episodes=sum(each["episodes"] for each in rounds),
        epochs=epochs,
        least_flops=epochs * (flops.whole_epoch(()) + flops.whole_validation(())),
    )
