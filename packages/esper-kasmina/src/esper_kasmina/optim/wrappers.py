"""Removes wrappers of optimizers and schedulers, such as those of ``accelerate``."""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import LRScheduler


def unwrap_optimizer(optimizer: Any) -> Any:
    """Returns the optimizer inside wrappers that hold it as ``optimizer``."""
    # Not by class: the wrapper of ``accelerate`` is a subclass of Optimizer.
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def unwrap_scheduler(scheduler: Any) -> Any:
    """Returns the scheduler inside wrappers that hold it as ``scheduler``."""
    while not isinstance(scheduler, LRScheduler) and hasattr(scheduler, "scheduler"):
        scheduler = scheduler.scheduler
    return scheduler
