"""The family ``loss``: pay for a fall of the validation loss, whoever brought it about."""

from __future__ import annotations

import math

from esper_leyline import StepReport
from esper_simic.rewards.measures import clip
from esper_simic.rewards.step import Step

LOSS_CAP = 12.0
"""Nats above which a loss is not told from a worse one."""


def progress(step: Step) -> float:
    """Pays for the fall of the loss, a rise being charged: weight * gamma^left * fall.

    ``left`` is the number of epochs after this one, so a fall is worth what it will be
    worth at the horizon. The discounted sum over any stretch is then a function of its
    first and last loss alone: a loop that ends where it began earns exactly nothing, and
    improving late is worth as much as improving early. The loss itself is clipped, never
    its change, or a spike would be charged less than its recovery is paid. What the
    governor undoes is not paid for.
    """
    before, after = _level(step.previous), _level(step.current)
    if before is None or after is None:
        return 0.0
    fall = before - after
    if step.crashed:
        fall = min(fall, 0.0)
    left = max(step.current.max_epochs - step.current.epoch, 0)
    return step.config.loss_weight * step.gamma**left * fall


def _level(report: StepReport) -> float | None:
    loss = report.val_loss
    return None if loss is None or math.isnan(loss) else clip(loss, 0.0, LOSS_CAP)
