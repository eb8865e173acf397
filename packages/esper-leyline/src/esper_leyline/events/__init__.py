"""Every event kind, the envelope they travel in, and how loud each one is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args, get_type_hints

from pydantic import Field, ValidationError

from esper_leyline.config.training import TelemetryConfig, TelemetryLevel
from esper_leyline.errors import LeylineError, show_text
from esper_leyline.events.growth import (
    CounterfactualMatrix,
    DegradationDetected,
    HostStabilized,
    ImprovementDetected,
    PerformanceDegradation,
    PlateauDetected,
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
from esper_leyline.reports import Rollback, SeedEvent, SeedEventKind, ShapleyValues
from esper_leyline.wire import Contract, Float

SCHEMA_VERSION = 2
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
    | SeedEvent
    | CounterfactualMatrix
    | ShapleyValues
    | HostStabilized
    | PlateauDetected
    | DegradationDetected
    | ImprovementDetected
    | PerformanceDegradation
    | Rollback
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


def _kinds(payload: type[AnyPayload]) -> tuple[str, ...]:
    return tuple(str(kind) for kind in get_args(get_type_hints(payload)["kind"]))


PAYLOADS: Mapping[str, type[AnyPayload]] = MappingProxyType(
    {kind: payload for payload in get_args(AnyPayload) for kind in _kinds(payload)}
)
"""The type of payload of every kind."""


class Event(Contract):
    """One line of a run's log.

    Attributes:
        boot: Counts the processes that have written this run's log, from 0.
        sequence: Counts the run's events without gaps, from 0, across boots.
        monotonic: Seconds since the boot's start, for durations.
        wall_time: Unix time, for people.
        group: The comparison that the run is an arm of; ``None`` outside one.
        round: Round of episodes that the event belongs to, from 1; ``None`` for the whole run.
        epoch: Epochs of the episode that were trained, the present one included; ``None`` where
            the event is not about one.
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
    round: int | None = None
    epoch: int | None = None
    environment: int | None = None
    coalesced: int = 0
    payload: Payload

    @property
    def kind(self) -> str:
        """The payload's kind."""
        return self.payload.kind


class EventVersionError(LeylineError):
    """An event was written under another version of the event schema."""


def parse_event(line: bytes) -> Event:
    """Reads one line of a log.

    Raises:
        EventVersionError: If the line was written under another schema version.
        ValidationError: If it is no event.
        RecursionError: If it is nested too deep.
    """
    try:
        event = Event.model_validate_json(line)
    except ValidationError:
        _check_version(_claimed_version(line))
        raise
    _check_version(event.schema_version)
    return event


def _check_version(version: object) -> None:
    if version != SCHEMA_VERSION:
        raise EventVersionError(
            f"has schema version {show_text(repr(version), 40)}, and this Esper reads version "
            f"{SCHEMA_VERSION}: read it with the Esper that wrote it, or train again"
        )


def _claimed_version(line: bytes) -> object:
    """Returns the version that a line names; that of this package where it names none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return SCHEMA_VERSION
    return (
        record.get("schema_version", SCHEMA_VERSION) if isinstance(record, dict) else SCHEMA_VERSION
    )


LIFECYCLE_KINDS = frozenset(str(kind) for kind in SeedEventKind)
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
    "EventVersionError",
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
    "Throughput",
    "ValueCollapse",
    "Vitals",
    "kinds_at",
    "kinds_written",
    "parse_event",
]
