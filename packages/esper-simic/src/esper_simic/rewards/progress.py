"""The family ``loss``: pay for a fall of the validation loss, whoever brought it about."""

from __future__ import annotations

import math

from esper_leyline import StepReport
from esper_simic.rewards.measures import clip
from esper_simic.rewards.step import Step

LOSS_CAP = 12.0
"""Nats above which a loss is not told from a worse one."""


def progress(step: Step) -> float:
    """Pays for the fall of the loss, a rise being charged.

    The discounted sum over any stretch is a function of its first and last loss alone: a
    loop that ends where it began earns exactly nothing, and improving late is worth as
    much as improving early.
    """
    return price(step, fall(step))


def price(step: Step, nats: float) -> float:
    """Returns weight * gamma^(epochs to come) * nats: what they will be worth at the horizon.

    However the same nats are spread over epochs, their discounted sum is the same.
    """
    return step.config.loss_weight * step.gamma ** (step.epochs_left - 1) * nats


def fall(step: Step) -> float:
    """Returns the nats by which the loss fell, negative where it rose; 0 if not measured.

    The loss itself is clipped, never its change, or a spike would be charged less than its
    recovery is paid. What the governor undoes is no fall.
    """
    before, after = level(step.previous), level(step.current)
    if before is None or after is None:
        return 0.0
    fallen = before - after
    return min(fallen, 0.0) if step.crashed else fallen


def level(report: StepReport) -> float | None:
    """Returns the validation loss between 0 and ``LOSS_CAP``, ``None`` if not measured."""
    loss = report.val_loss
    return None if loss is None or math.isnan(loss) else clip(loss, 0.0, LOSS_CAP)
