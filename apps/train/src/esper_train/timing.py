"""The time of an epoch of a task's host on this machine."""

from __future__ import annotations

import math

from esper_kasmina import build_host
from esper_leyline import FactoredAction, TaskSpec, TrainingConfig, override
from esper_tolaria import build_environment

PROBE_SECONDS = 0.5
"""Least seconds of training in a measurement, unless an epoch is shorter."""


def epoch_seconds(task: TaskSpec, *, device: str, data_root: str) -> float:
    """Returns the seconds that one host without seeds takes to train and validate.

    Two batches are trained first, then enough for ``PROBE_SECONDS``. The time of an epoch is
    extrapolated: seconds * batches of an epoch / batches trained. The data has to be here.
    """
    batches = task.training.batches(task.data.train_size)
    probe = min(2, batches)
    train, _ = _step_seconds(task, probe, device=device, data_root=data_root)
    enough = math.ceil(probe * PROBE_SECONDS / max(train, 1e-6))
    if enough > probe:
        probe = min(enough, batches)
    train, validate = _step_seconds(task, probe, device=device, data_root=data_root)
    return train * batches / probe + validate


def _step_seconds(
    task: TaskSpec, batches: int, *, device: str, data_root: str
) -> tuple[float, float]:
    """Trains a number of batches; returns the seconds for them, and for validation."""
    training = task.training.model_copy(update={"max_batches": batches})
    changes = {
        "task": task.name,
        "n_envs": 1,
        "max_epochs": 2,
        "data_root": data_root,
        "host": training.model_dump(mode="json"),
    }
    config = override(TrainingConfig(), changes)
    environment = build_environment(task, config, build_host, device)
    try:
        environment.reset([0])
        (report,) = environment.step([FactoredAction()])
    finally:
        environment.close()
    return report.seconds["train"], report.seconds["validate"]
