"""Every event kind, the envelope they travel in, and how loud each one is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field

from esper_leyline.config import TelemetryConfig, TelemetryLevel
from esper_leyline.events.growth import (
    CounterfactualMatrix,
    DegradationDetected,
    GovernorRolledBack,
    HostStabilized,
    ImprovementDetected,
    PerformanceDegradation,
    PlateauDetected,
    SeedFossilized,
    SeedGateEvaluated,
    SeedGerminated,
    SeedPruned,
    SeedStageChanged,
    ShapleyMeasured,
)
from esper_leyline.events.learning import (
    Decision,
    EntropyCollapse,
    GradientPathology,
    HeadDecision,
    NumericalInstability,
    PPOUpdate,
    QValue,
    RatioCollapse,
    RatioExplosion,
    RewardHackingSuspected,
    ValueCollapse,
)
from esper_leyline.events.run import (
    CheckpointLoaded,
    CheckpointSaved,
    EpisodeOutcome,
    EpochCompleted,
    MemoryWarning,
    RoundCompleted,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    Throughput,
    Vitals,
)
from esper_leyline.wire import Contract, Float

SCHEMA_VERSION = 1
"""Version of the event schema; it changes with every change to any public contract."""

AnyPayload = (
    RunStarted
    | RunResumed
    | RunCompleted
    | RunFailed
    | CheckpointSaved
    | CheckpointLoaded
    | EpochCompleted
    | RoundCompleted
    | EpisodeOutcome
    | Throughput
    | Vitals
    | MemoryWarning
    | SeedGerminated
    | SeedStageChanged
    | SeedGateEvaluated
    | SeedFossilized
    | SeedPruned
    | CounterfactualMatrix
    | ShapleyMeasured
    | HostStabilized
    | PlateauDetected
    | DegradationDetected
    | ImprovementDetected
    | PerformanceDegradation
    | GovernorRolledBack
    | Decision
    | PPOUpdate
    | RatioExplosion
    | RatioCollapse
    | ValueCollapse
    | EntropyCollapse
    | GradientPathology
    | NumericalInstability
    | RewardHackingSuspected
)
Payload = Annotated[AnyPayload, Field(discriminator="kind")]
"""What an event says, told apart by ``kind``."""

PAYLOADS: Mapping[str, type[Contract]] = MappingProxyType(
    {model.model_fields["kind"].default: model for model in get_args(AnyPayload)}
)
"""Every payload model by its kind."""


class Event(Contract):
    """One line of a run's log.

    Attributes:
        boot: Counts the processes that have written this run's log, from 0.
        sequence: Counts the run's events without gaps, from 0, across boots.
        monotonic: Seconds since the boot's start, for durations.
        wall_time: Unix time, for people.
        group: The comparison that the run is an arm of; ``None`` outside one.
        environment: Index of the environment concerned, ``None`` for the whole run.
        coalesced: Samples of this kind that this one stands for besides itself.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    boot: int = Field(default=0, ge=0)
    sequence: int = Field(ge=0)
    monotonic: Float
    wall_time: Float
    group: str | None = None
    environment: int | None = None
    coalesced: int = 0
    payload: Payload

    @property
    def kind(self) -> str:
        """The payload's kind."""
        return self.payload.kind


LIFECYCLE_KINDS = frozenset(
    {
        "seed_germinated",
        "seed_stage_changed",
        "seed_gate_evaluated",
        "seed_fossilized",
        "seed_pruned",
    }
)
"""Kinds that ``lifecycle_only`` keeps at any level."""

_RUN_KINDS = frozenset(
    {
        "run_started",
        "run_resumed",
        "run_completed",
        "run_failed",
        "checkpoint_saved",
        "checkpoint_loaded",
    }
)

SAMPLE_KINDS = frozenset({"epoch_completed", "throughput", "vitals", "counterfactual_matrix"})
"""Kinds that may be coalesced on overload; no other event is ever dropped."""

_MINIMAL_KINDS = (
    _RUN_KINDS
    | LIFECYCLE_KINDS
    | {"round_completed", "episode_outcome", "ppo_update", "governor_rolled_back"}
    | {"numerical_instability", "reward_hacking_suspected"}
)
_DEBUG_KINDS = frozenset({"vitals", "seed_gate_evaluated"})


def kinds_at(level: TelemetryLevel) -> frozenset[str]:
    """Returns the kinds that a level writes; each level writes all of the one below."""
    if level == "off":
        return frozenset()
    if level == "minimal":
        return _MINIMAL_KINDS - _DEBUG_KINDS
    every = frozenset(PAYLOADS)
    return every if level == "debug" else every - _DEBUG_KINDS


def kinds_written(config: TelemetryConfig) -> frozenset[str]:
    """Returns the kinds that a run with this configuration writes."""
    kept = LIFECYCLE_KINDS if config.lifecycle_only else frozenset[str]()
    return kinds_at(config.level) | kept


__all__ = [
    "LIFECYCLE_KINDS",
    "PAYLOADS",
    "SAMPLE_KINDS",
    "SCHEMA_VERSION",
    "AnyPayload",
    "CheckpointLoaded",
    "CheckpointSaved",
    "CounterfactualMatrix",
    "Decision",
    "DegradationDetected",
    "EntropyCollapse",
    "EpisodeOutcome",
    "EpochCompleted",
    "Event",
    "GovernorRolledBack",
    "GradientPathology",
    "HeadDecision",
    "HostStabilized",
    "ImprovementDetected",
    "MemoryWarning",
    "NumericalInstability",
    "PPOUpdate",
    "Payload",
    "PerformanceDegradation",
    "PlateauDetected",
    "QValue",
    "RatioCollapse",
    "RatioExplosion",
    "RewardHackingSuspected",
    "RoundCompleted",
    "RunCompleted",
    "RunFailed",
    "RunResumed",
    "RunStarted",
    "SeedFossilized",
    "SeedGateEvaluated",
    "SeedGerminated",
    "SeedPruned",
    "SeedStageChanged",
    "ShapleyMeasured",
    "Throughput",
    "ValueCollapse",
    "Vitals",
    "kinds_at",
    "kinds_written",
]
