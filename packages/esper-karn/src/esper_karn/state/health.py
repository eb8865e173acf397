"""Verdicts on a run: a value against thresholds, with hysteresis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from esper_leyline.wire import Float


class Level(StrEnum):
    """How a check stands."""

    UNKNOWN = "unknown"
    """Nothing was measured yet."""
    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


LEVELS = tuple(Level)
"""All levels, the worst last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a verdict compares.

    A level is entered after ``patience`` values in a row beyond its threshold, and left once a
    value is better than the threshold by ``margin``, so that a value near it does not flicker.

    Attributes:
        measures: What the value is, with its unit.
        warning: Threshold of ``WARNING``.
        bad: Threshold of ``BAD``, further out.
        below: Whether values below the thresholds are the bad ones.
        margin: By how much a value must be better to leave a level.
        patience: Values in a row beyond a threshold that enter its level.
        advice: One sentence on what to do.
    """

    measures: str
    warning: float
    bad: float
    below: bool = False
    margin: float = 0.0
    patience: int = 1
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one check stands.

    Attributes:
        at: Sequence number of the event that changed it last.
        value: What was measured last, ``None`` before that.
        where: The part concerned, for example a head or a device; empty for the whole run.
        streak: Values in a row that were worse than ``level``.
    """

    at: int
    level: Level = Level.UNKNOWN
    value: Float | None = None
    where: str = ""
    streak: int = 0


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "updates": Check(
            measures="policy updates skipped in a row",
            warning=1,
            bad=2,
            advice="Lower --ppo-learning-rate: three skipped updates in a row end the run.",
        ),
        "entropy": Check(
            measures="least entropy of a head, 1 is a uniform choice",
            warning=0.15,
            bad=0.05,
            below=True,
            margin=0.03,
            patience=2,
            advice="Raise --ppo-entropy-coefficient, or the probability floor of that head: "
            "it all but stopped choosing.",
        ),
        "q_spread": Check(
            measures="largest minus smallest mean Q of the ops, in standard deviations of returns",
            warning=0.02,
            bad=0.002,
            below=True,
            margin=0.01,
            patience=3,
            advice="The critic sees no difference between ops: train more rounds, or with more "
            "hosts in each.",
        ),
        "critic": Check(
            measures="explained variance of the returns",
            warning=0.0,
            bad=-0.5,
            below=True,
            margin=0.05,
            patience=5,
            advice="The critic explains nothing of the returns: raise --ppo-value-coefficient or "
            "--ppo-epochs.",
        ),
        "gradient": Check(
            measures="gradient norm of the policy before clipping",
            warning=30.0,
            bad=100.0,
            margin=5.0,
            advice="Lower --ppo-learning-rate, and look for a reward component that jumps.",
        ),
        "clipping": Check(
            measures="share of the gradients that clipping left",
            warning=0.3,
            bad=0.1,
            below=True,
            margin=0.1,
            patience=3,
            advice="Raise --ppo-max-grad-norm: clipping removes most of each step.",
        ),
        "kl": Check(
            measures="largest KL divergence of a head in one update",
            warning=0.1,
            bad=0.5,
            margin=0.02,
            patience=2,
            advice="Lower --ppo-learning-rate or --ppo-epochs: one update moves the policy far.",
        ),
        "dead_seeds": Check(
            measures="share of trained seeds whose gradients vanish",
            warning=0.25,
            bad=0.5,
            margin=0.1,
            advice="Look at the gradients of the seeds and prune those that do not learn.",
        ),
        "rollbacks": Check(
            measures="share of the round's episodes that the governor ended",
            warning=0.25,
            bad=0.5,
            margin=0.1,
            advice="Lower the learning rate of the hosts: their losses diverge.",
        ),
        "throughput": Check(
            measures="speed of hosts as a share of their usual speed",
            warning=0.6,
            bad=0.3,
            below=True,
            margin=0.1,
            advice="Look for other processes on this machine, or for a device that throttles.",
        ),
        "memory": Check(
            measures="share of memory used",
            warning=0.9,
            bad=0.97,
            margin=0.03,
            advice="Use fewer --envs or --workers before the system ends the run.",
        ),
        "disk": Check(
            measures="free space on the disk of the run, in MB",
            warning=2000.0,
            bad=200.0,
            below=True,
            margin=100.0,
            advice="Free space on the disk: checkpoints and the log need it.",
        ),
        "stalled": Check(
            measures="seconds without an epoch, over the longest usual wait",
            warning=1.0,
            bad=5.0,
            advice="Look at what the trainer's processes do (py-spy dump): no host has finished "
            "an epoch for long.",
        ),
        "telemetry": Check(
            measures="events that are missing in the log",
            warning=1.0,
            bad=1000.0,
            advice="Look for a full or slow disk: training went on, but these events were not "
            "written.",
        ),
    }
)
"""Every check by name, in the order in which they are shown."""


def judge(
    name: str, old: Verdict | None, value: float | None, at: int, where: str = ""
) -> Verdict | None:
    """Returns the verdict after one more value.

    Args:
        name: Of the check.
        old: The verdict so far.
        value: What was measured; ``None`` leaves the verdict as it is.
        at: Sequence number of the event.
        where: The part concerned.
    """
    if value is None:
        return old
    check = CHECKS[name]
    level: Level = Level.OK if old is None or old.level is Level.UNKNOWN else old.level
    if not math.isfinite(value):
        return Verdict(at=at, level=Level.BAD, value=value, where=where)
    worst, least = _level(check, value, 0.0), _level(check, value, check.margin)
    if LEVELS.index(worst) > LEVELS.index(level):
        streak = (old.streak if old else 0) + 1
        if streak >= check.patience:
            return Verdict(at=at, level=worst, value=value, where=where)
        return Verdict(at=at, level=level, value=value, where=where, streak=streak)
    if LEVELS.index(least) < LEVELS.index(level):
        level = least
    return Verdict(at=at, level=level, value=value, where=where)


def _level(check: Check, value: float, margin: float) -> Level:
    """Returns the level of a value alone, with thresholds that are stricter by a margin."""
    if _beyond(check, value, check.bad, margin):
        return Level.BAD
    return Level.WARNING if _beyond(check, value, check.warning, margin) else Level.OK


def _beyond(check: Check, value: float, threshold: float, margin: float) -> bool:
    return value < threshold + margin if check.below else value >= threshold - margin
