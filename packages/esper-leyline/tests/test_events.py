"""Kinds of event, and what each telemetry level writes of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from esper_leyline import TelemetryConfig
from esper_leyline.events import (
    LIFECYCLE_KINDS,
    PAYLOADS,
    SAMPLE_KINDS,
    Event,
    Vitals,
    kinds_at,
    kinds_written,
)

LEVELS = ("off", "minimal", "normal", "debug")
NEEDED = {
    "run_started run_resumed run_completed run_failed checkpoint_saved checkpoint_loaded",
    "epoch_completed round_completed plateau_detected degradation_detected improvement_detected",
    "ppo_update host_stabilized seed_germinated seed_stage_changed seed_gate_evaluated",
    "seed_fossilized seed_pruned counterfactual_matrix shapley_measured decision",
    "ratio_explosion ratio_collapse value_collapse entropy_collapse gradient_pathology",
    "numerical_instability performance_degradation memory_warning reward_hacking_suspected",
    "governor_rolled_back episode_outcome throughput vitals",
}


def test_every_kind_of_the_domain_has_a_payload():
    assert set(PAYLOADS) == set(" ".join(NEEDED).split())


def test_an_unknown_kind_or_key_is_refused():
    event = Event(run_id="r", sequence=0, monotonic=0, wall_time=0, payload=Vitals())
    line = event.model_dump_json()
    for bad in (line.replace("vitals", "vital"), line.replace("run_id", "run")):
        with pytest.raises(ValueError, match="validation error"):
            Event.model_validate_json(bad)


def test_levels_are_nested_from_nothing_to_everything():
    for quieter, louder in pairwise(LEVELS):
        assert kinds_at(quieter) < kinds_at(louder)
    assert kinds_at("off") == frozenset()
    assert kinds_at("debug") == set(PAYLOADS)


def test_every_kind_named_by_a_rule_exists():
    assert set(PAYLOADS) >= LIFECYCLE_KINDS | SAMPLE_KINDS


@pytest.mark.parametrize("level", LEVELS)
def test_lifecycle_only_keeps_lifecycle_events_at_any_level(level):
    written = kinds_written(TelemetryConfig(level=level, lifecycle_only=True))
    assert written == kinds_at(level) | LIFECYCLE_KINDS


def test_what_decides_a_run_is_never_coalesced():
    never = LIFECYCLE_KINDS | {"decision", "ppo_update", "episode_outcome", "round_completed"}
    assert not never & SAMPLE_KINDS
