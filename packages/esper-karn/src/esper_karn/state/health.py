"""Verdicts on a run: values against limits, each with advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from esper_leyline.health import (
    CLIPPING_LIMITS,
    CRITIC_LIMITS,
    ENTROPY_LIMITS,
    GRADIENT_LIMITS,
    MEMORY_LIMITS,
    SPEED_LIMITS,
    Gauge,
    Level,
    Limits,
    MemoryKind,
)
from esper_leyline.wire import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a verdict compares.

    Attributes:
        measures: What the value is, with its unit.
        limits: From which value on it is not well.
        advice: One sentence on what to do.
    """

    measures: str
    limits: Limits
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one check stands.

    Attributes:
        at: Sequence number of the event that changed it last.
        gauge: What was measured last, and its level.
        where: The part concerned, for example a head or a device; empty for the whole run.
    """

    at: int
    gauge: Gauge
    where: str = ""

    @property
    def level(self) -> Level:
        """Its level."""
        return self.gauge.level

    @property
    def value(self) -> Float | None:
        """What was measured last."""
        return self.gauge.value


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "updates": Check(
            measures="policy updates skipped in a row",
            limits=Limits(warning=1, bad=2),
            advice="Lower --ppo-learning-rate: three skipped updates in a row end the run.",
        ),
        "entropy": Check(
            measures="least entropy of a head, 1 is a uniform choice",
            limits=ENTROPY_LIMITS,
            advice="Raise --ppo-entropy-coefficient, or policy.floors of that head: it almost "
            "always chooses the same.",
        ),
        "q_spread": Check(
            measures="largest minus smallest mean Q of the ops, in standard deviations of returns",
            limits=Limits(warning=0.02, bad=0.002, below=True, margin=0.01, patience=3),
            advice="Train longer (--rounds) or on more hosts (--envs): the critic sees hardly any "
            "difference between ops.",
        ),
        "critic": Check(
            measures="explained variance of the returns",
            limits=CRITIC_LIMITS,
            advice="Raise --ppo-value-coefficient or --ppo-epochs: the critic predicts returns no "
            "better than their mean does.",
        ),
        "gradient": Check(
            measures="gradient norm of the policy before clipping",
            limits=GRADIENT_LIMITS,
            advice="Lower --ppo-learning-rate, and look for a reward component that jumps.",
        ),
        "clipping": Check(
            measures="share of the gradient norm that clipping leaves",
            limits=CLIPPING_LIMITS,
            advice="Raise --ppo-max-grad-norm: clipping removes most of each step.",
        ),
        "kl": Check(
            measures="largest KL divergence of a head in one update",
            limits=Limits(warning=0.1, bad=0.5, margin=0.02, patience=2),
            advice="Lower --ppo-learning-rate, --ppo-epochs or --ppo-target-kl: one update moves "
            "the policy far.",
        ),
        "dead_seeds": Check(
            measures="share of trained seeds whose gradients vanish",
            limits=Limits(warning=0.25, bad=0.5, margin=0.1),
            advice="Raise --host-seed-learning-rate, or leave blueprints that do not learn out of "
            "--blueprints.",
        ),
        "rollbacks": Check(
            measures="share of the round's episodes that the governor ended",
            limits=Limits(warning=0.25, bad=0.5, margin=0.1),
            advice="Lower --host-learning-rate: the losses of hosts diverge.",
        ),
        "throughput": Check(
            measures="speed of a round as a share of the usual speed",
            limits=SPEED_LIMITS,
            advice="Look for other processes on this machine, or for a device that throttles.",
        ),
        "memory": Check(
            measures="share of memory used",
            limits=MEMORY_LIMITS[MemoryKind.MEMORY],
            advice="Use fewer --envs or --workers before the system ends the run.",
        ),
        "gpu_memory": Check(
            measures="share of the memory of the fullest GPU that is used",
            limits=MEMORY_LIMITS[MemoryKind.GPU_MEMORY],
            advice="Use fewer --envs, or spread them over more GPUs with --devices.",
        ),
        "disk": Check(
            measures="free space on the disk of the run, in MB",
            limits=MEMORY_LIMITS[MemoryKind.DISK],
            advice="Free space on the disk, or lower --checkpoint-keep: checkpoints and the log "
            "need it.",
        ),
        "stalled": Check(
            measures="time without an epoch as a multiple of the longest usual wait",
            limits=Limits(warning=1.0, bad=5.0),
            advice="Look at what the trainer's processes do (py-spy dump): no host has finished "
            "an epoch for long.",
        ),
        "telemetry": Check(
            measures="events that are missing in the log",
            limits=Limits(warning=1.0, bad=1000.0),
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
    gauge = Gauge() if old is None else old.gauge
    return Verdict(at=at, gauge=gauge.observe(value, CHECKS[name].limits), where=where)
