"""Lines of a log: what is left out, how many digits numbers have, and what is read back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from esper_leyline import FactoredAction, SeedReport, TrainingConfig
from esper_leyline.events import (
    Decision,
    EpochCompleted,
    Event,
    RunFailed,
    RunStarted,
    Vitals,
    encode_event,
    parse_event,
)
from esper_leyline.reports import HostReport, RewardBreakdown
from esper_leyline.wire import SIX_DIGITS, Float, round_digits

FLOAT = TypeAdapter(Float)


def event(payload, **stamps):
    return Event(
        **{"run_id": "r", "sequence": 7, "monotonic": 1.23456, "wall_time": 1.7e9 + 0.1, **stamps},
        payload=payload,
    )


def test_fields_with_their_default_are_left_out():
    report = HostReport(seeds=(SeedReport(slot="r0c0", alpha=0.5),), host_parameters=3)
    line = encode_event(event(EpochCompleted(host=report), round=1))
    assert line == (
        b'{"schema_version":3,"run_id":"r","sequence":7,"monotonic":1.235,"wall_time":1700000000.100,'
        b'"round":1,"payload":{"kind":"epoch_completed","host":{"seeds":[{"slot":"r0c0",'
        b'"alpha":0.5}],"host_parameters":3}}}'
    )
    decision = Decision(action=FactoredAction(), reward=RewardBreakdown(components={"a": 0.0}))
    assert json.loads(encode_event(event(decision)))["payload"] == {
        "kind": "decision",
        "action": {},
        "reward": {"components": {"a": 0.0}},
    }
    assert encode_event(event(Vitals())).endswith(b'"payload":{"kind":"vitals"}}')


def test_every_stamp_that_has_no_default_is_written():
    stamps = {"boot": 1, "group": "a\n\u2028", "round": 2, "epoch": 3, "environment": 4}
    whole = event(Vitals(), **stamps, coalesced=5)
    assert b"\n" not in encode_event(whole)
    read = parse_event(encode_event(whole))
    assert (read.boot, read.group, read.round, read.epoch) == (1, "a\n\u2028", 2, 3)
    assert (read.environment, read.coalesced, read.sequence) == (4, 5, 7)
    assert (read.monotonic, read.wall_time) == (1.235, 1_700_000_000.1)


def test_the_configuration_of_a_run_is_written_in_full():
    config = TrainingConfig(task="mnist1d")
    started = RunStarted(command="ppo", config=config, versions={})
    written = json.loads(encode_event(event(started)))["payload"]["config"]
    assert written == json.loads(config.model_dump_json())


def test_a_line_that_does_not_name_its_run_belongs_to_the_one_that_is_read():
    line = encode_event(event(Vitals()), name_run=False)
    assert b"run_id" not in line
    assert parse_event(line).run_id is None
    assert parse_event(line, "r").run_id == "r"


def test_a_line_that_does_not_name_its_run_belongs_to_the_comparison_that_is_read():
    line = encode_event(event(Vitals(), group="g"), name_run=False)
    assert b"group" not in line
    assert parse_event(line).group is None
    assert parse_event(line, "r", "g").group == "g"
    # A process outside a comparison names its run only.
    assert parse_event(encode_event(event(Vitals())), "r", "g").group is None
    assert parse_event(encode_event(event(Vitals())), "other").run_id == "r"


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_six_digits_are_kept_and_rounding_again_changes_nothing(value):
    rounded = round_digits(value)
    assert rounded == pytest.approx(value, rel=5.001e-6, abs=0.0)
    assert round_digits(rounded) == rounded
    digits = f"{rounded!r}".split("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    assert len(digits) <= 7


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2 / 3, b"0.666667"),
        (200 / 3, b"66.6667"),
        (2 / 3 * 1e-7, b"6.66667e-8"),
        (2 / 3 * 1e12, b"666667000000.0"),
        (999_999.96, b"1000000.0"),
        (-0.1 - 0.2, b"-0.3"),
        (0.0, b"0.0"),
        (1e-320, b"1e-320"),
    ],
)
def test_numbers_are_written_with_six_digits(value, written):
    found = FLOAT.dump_json(value, context=SIX_DIGITS)
    assert found == written or float(found) == float(written)


@settings(deadline=None)
@given(st.floats())
def test_numbers_outside_the_log_are_exact(value):
    found = FLOAT.validate_json(FLOAT.dump_json(value))
    assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize("number", ["1" * 19, "-" + "1" * 400, "1" * 5000])
def test_an_integer_out_of_the_range_of_a_float_is_refused(number):
    line = encode_event(event(Vitals(), round=3)).replace(
        b'"round":3', b'"round":%b' % number.encode()
    )
    with pytest.raises(ValidationError, match=r"an integer has|number out of range"):
        parse_event(line)


def test_long_integers_in_texts_are_no_numbers():
    text = "see [1234567890123456789012, -12345678901234567890123]"
    read = parse_event(encode_event(event(RunFailed(error=text, rounds_completed=1, seconds=1e22))))
    assert read.payload == RunFailed(error=text, rounds_completed=1, seconds=1e22)
