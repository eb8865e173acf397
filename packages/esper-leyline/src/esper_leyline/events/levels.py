"""Which kinds of event each telemetry level writes."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from esper_leyline.config.training import TelemetryConfig, TelemetryLevel
from esper_leyline.events.payloads import PAYLOADS
from esper_leyline.reports import SeedEventKind

LIFECYCLE_KINDS = frozenset(str(kind) for kind in SeedEventKind)
"""What happens to seeds, which ``lifecycle_only`` keeps at any level."""

_RUN_KINDS = frozenset(
    {
        "run_started",
        "run_phase",
        "environment_built",
        "run_resumed",
        "run_completed",
        "run_failed",
        "checkpoint_saved",
        "checkpoint_loaded",
        "worker_restarted",
    }
)
"""What happens to a run, which ``lifecycle_only`` keeps too, so that a reader knows the run."""

# Vitals are the heartbeat by which a reader on another machine tells that a run is alive.
_MACHINE_KINDS = frozenset({"vitals", "memory_warning"})

SAMPLE_KINDS = frozenset(
    {"epoch_completed", "throughput", "vitals", "counterfactual_matrix", "profile_measured"}
)
"""Kinds that may be coalesced on overload; no other event is ever dropped."""

_MINIMAL_KINDS = (
    _RUN_KINDS
    | _MACHINE_KINDS
    | LIFECYCLE_KINDS
    | {"round_completed", "episode_outcome", "test_evaluated"}
    | {"ppo_update", "governor_rolled_back"}
    | {"numerical_instability", "reward_hacking_suspected"}
)

_DEBUG_KINDS = frozenset({"seed_gate_evaluated"})


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
    kept = LIFECYCLE_KINDS | _RUN_KINDS if config.lifecycle_only else frozenset[str]()
    return kinds_at(config.level) | kept


def least_level(kinds: Collection[str]) -> TelemetryLevel:
    """Returns the quietest level that writes all of some kinds."""
    levels: tuple[TelemetryLevel, ...] = get_args(TelemetryLevel)
    return next(level for level in levels if kinds_at(level).issuperset(kinds))
