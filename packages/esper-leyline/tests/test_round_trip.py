"""Every contract survives JSON: what is read back is what was written."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from esper_leyline import SeedEvent, SeedEventKind, SeedEvidence, SeedMeasurement
from esper_leyline.events import PAYLOADS, Event, Vitals, encode_event, parse_event
from esper_leyline.schemas.export import CONTRACTS

PLAN = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # shrinking a whole config takes minutes
)


@pytest.mark.parametrize("name", CONTRACTS)
@PLAN
@given(data=st.data())
def test_a_contract_survives_json(name, contracts, data):
    adapter = TypeAdapter(CONTRACTS[name])
    written = adapter.dump_json(data.draw(contracts(CONTRACTS[name])))

    read = adapter.validate_json(written)

    assert adapter.dump_json(read) == written
    json.loads(written, parse_constant=_no_bare_constant)


@PLAN
@given(data=st.data())
def test_read_values_equal_written_ones_unless_they_hold_nan(contracts, data):
    for name in ("seed_command", "seed_state", "factored_action", "training_config", "task_spec"):
        adapter = TypeAdapter(CONTRACTS[name])
        value = data.draw(contracts(CONTRACTS[name]))
        if b'"NaN"' not in adapter.dump_json(value):
            assert adapter.validate_json(adapter.dump_json(value)) == value


@pytest.mark.parametrize("kind", PAYLOADS)
@PLAN
@given(data=st.data())
def test_an_event_finds_its_payload_by_kind(kind, contracts, data):
    drawn = data.draw(contracts(PAYLOADS[kind]))
    payload = drawn
    if isinstance(drawn, SeedEvent):
        payload = dataclasses.replace(drawn, kind=SeedEventKind(kind))
    event = Event(run_id="r", sequence=0, monotonic=0, wall_time=0, payload=payload)
    read = parse_event(encode_event(event))
    assert type(read.payload) is PAYLOADS[kind]
    assert read.kind == kind
    assert encode_event(read) == encode_event(event)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_come_back_as_themselves(value):
    event = Event(
        run_id="r", sequence=0, monotonic=0.0, wall_time=0.0, payload=Vitals(memory_mb=value)
    )
    models = parse_event(encode_event(event)).payload.memory_mb
    adapter = TypeAdapter(SeedMeasurement)
    dataclasses = adapter.validate_json(
        adapter.dump_json(SeedMeasurement(slot="r0c0", contribution=value))
    ).contribution
    for read in (models, dataclasses):
        assert read == value or (math.isnan(read) and math.isnan(value))


def test_unmeasured_is_null_and_not_zero():
    written = json.loads(TypeAdapter(SeedEvidence).dump_json(SeedEvidence()))
    assert set(written.values()) == {None}


def _no_bare_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")
