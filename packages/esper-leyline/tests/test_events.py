"""Kinds of event, and what each telemetry level writes of them."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import get_type_hints

import pytest
from pydantic import ValidationError

from esper_leyline import SeedEvent, SeedEventKind, SeedReport, SeedStage, StepReport
from esper_leyline.config.training import TelemetryConfig
from esper_leyline.events import (
    LIFECYCLE_KINDS,
    PAYLOADS,
    SAMPLE_KINDS,
    EpochCompleted,
    Event,
    EventVersionError,
    Vitals,
    encode_event,
    kinds_at,
    kinds_written,
    least_level,
    parse_event,
)
from esper_leyline.reports import HostReport

LEVELS = ("off", "minimal", "normal", "debug")
NEEDED = {
    "run_started run_phase environment_built run_resumed run_completed",
    "run_failed checkpoint_saved checkpoint_loaded",
    "epoch_completed round_completed plateau_detected degradation_detected improvement_detected",
    "ppo_update host_stabilized seed_germinated seed_stage_changed seed_gate_evaluated",
    "seed_fossilized seed_pruned counterfactual_matrix shapley_measured decision",
    "ratio_explosion ratio_collapse value_collapse entropy_collapse gradient_pathology",
    "numerical_instability performance_degradation memory_warning reward_hacking_suspected",
    "governor_rolled_back episode_started episode_outcome test_evaluated profile_measured",
    "throughput throughput_warning vitals worker_restarted",
}


def test_every_kind_of_the_domain_has_a_payload():
    assert set(PAYLOADS) == set(" ".join(NEEDED).split())


def test_an_unknown_kind_or_key_is_refused():
    event = Event(run_id="r", sequence=0, monotonic=0, wall_time=0, payload=Vitals())
    line = encode_event(event).decode()
    for bad in (line.replace("vitals", "vital"), line.replace("run_id", "run")):
        with pytest.raises(ValueError, match="validation error"):
            parse_event(bad.encode())


@pytest.mark.parametrize("version", ["1", "99", '"two"', "null"])
def test_an_event_of_another_version_is_refused_in_one_line(version):
    event = Event(run_id="r", sequence=0, monotonic=0, wall_time=0, payload=Vitals())
    line = encode_event(event).decode().replace('"schema_version":3', f'"schema_version":{version}')
    shown = {'"two"': "'two'", "null": "None"}.get(version, version)
    with pytest.raises(EventVersionError) as refused:
        parse_event(line.encode())
    assert str(refused.value) == (
        f"has schema version {shown}, and this Esper reads version 3: "
        "read it with the Esper that wrote it, or train again"
    )


def test_a_payload_of_version_1_is_refused_for_its_version_and_not_for_its_fields():
    line = (
        b'{"schema_version":1,"run_id":"r","sequence":0,"monotonic":0,"wall_time":0,'
        b'"environment":0,"payload":{"kind":"host_stabilized","round":1,"epoch":2,"val_loss":3}}'
    )
    with pytest.raises(EventVersionError, match="has schema version 1"):
        parse_event(line)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'{"schema_version":3}', b"\xff"])
def test_a_malformed_line_is_a_validation_error(line):
    with pytest.raises(ValidationError):
        parse_event(line)


def test_round_epoch_and_environment_are_in_no_payload():
    for kind, payload in PAYLOADS.items():
        assert not {"round", "epoch", "environment"} & set(get_type_hints(payload)), kind


@pytest.mark.parametrize("kind", SeedEventKind)
def test_a_seed_event_names_its_subject(kind):
    facts = {"kind": kind, "slot": "r0c1", "source": SeedStage.DORMANT, "target": SeedStage.PRUNED}
    subject = "gate" if kind is SeedEventKind.GATE_EVALUATED else "blueprint"
    if kind is SeedEventKind.STAGE_CHANGED:
        assert SeedEvent(**facts).blueprint is None
        return
    with pytest.raises(ValueError, match=f"{kind.value} event of slot r0c1 names no {subject}"):
        SeedEvent(**facts)


def test_epoch_completed_holds_the_host_part_of_a_report():
    report = StepReport(
        environment=1,
        rng_seed=2,
        epoch=3,
        max_epochs=9,
        seeds=(SeedReport(slot="r0c0", stage=SeedStage.TRAINING),),
        host_parameters=100,
        fossil_parameters=10,
        live_parameters=1,
        wasted_epoch_parameters=5,
        train_loss=1.5,
        train_accuracy=40.0,
        val_loss=math.inf,
        val_accuracy=39.0,
        seconds={"train": 1.0},
    )
    for field in dataclasses.fields(HostReport):
        assert getattr(report.host, field.name) == getattr(report, field.name)
    event = Event(
        run_id="r", sequence=0, monotonic=0, wall_time=0, payload=EpochCompleted(host=report.host)
    )
    assert parse_event(encode_event(event)) == event


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
    run_kinds = {"run_started", "run_phase", "environment_built", "run_completed", "run_failed"}
    assert written >= kinds_at(level) | LIFECYCLE_KINDS | run_kinds
    assert ("vitals" in written) == (level != "off")
    assert ("decision" in written) == (level in ("normal", "debug"))


@pytest.mark.parametrize(
    ("kinds", "level"),
    [
        ([], "off"),
        (["vitals"], "minimal"),
        (["vitals", "decision"], "normal"),
        (["seed_gate_evaluated"], "debug"),
    ],
)
def test_the_least_level_is_the_lowest_that_writes_all_given_kinds(kinds, level):
    assert least_level(kinds) == level


def test_events_of_the_lifecycle_and_of_updates_are_never_coalesced():
    never = LIFECYCLE_KINDS | {"decision", "ppo_update", "episode_outcome", "round_completed"}
    assert not never & SAMPLE_KINDS
