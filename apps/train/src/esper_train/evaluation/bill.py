"""The cost of training a policy, from the counts in its checkpoint."""

from __future__ import annotations

from esper_simic.evaluation import TrainingBill
from esper_tolaria import find_task
from esper_train.evaluation.arms import CheckpointArm
from esper_train.evaluation.scratch import flop_counter


def training_bill(arm: CheckpointArm) -> TrainingBill:
    """Counts the hosts that a policy was trained on, and a lower bound of their FLOPs.

    A checkpoint counts the actions of its rounds, one for each epoch of a host, but not
    which seeds trained in which epoch. So the bound is the FLOPs of hosts without seeds:
    training, and one validation after each epoch.
    """
    rounds = arm.state["rounds"]
    epochs = sum(sum(each["ops"].values()) for each in rounds)
    config = arm.manifest.config
    flops = flop_counter(find_task(arm.manifest.task).spec, config)
    return TrainingBill(
        rounds=len(rounds),
        episodes=sum(each["episodes"] for each in rounds),
        epochs=epochs,
        least_flops=epochs * (flops.whole_epoch(()) + flops.whole_validation(())),
    )
