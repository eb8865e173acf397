"""What telemetry profiles measured, as a panel and as a table."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from esper_karn import ProfilesTable, fold, frame, profiles
from esper_karn.weights_and_biases.metrics import metrics_of
from esper_leyline import TrainingConfig, override
from esper_leyline.events import Event, RunStarted, encode_event, parse_event
from esper_leyline.profiles import HostProfile, LayerProfile, Sharpness

LAYERS = (
    LayerProfile(name="blocks.0", gradient_norm=0.5, weight_norm=2.0, zero_share=0.0),
    LayerProfile(name="blocks.1", gradient_norm=0.001, weight_norm=3.0, zero_share=0.25),
    LayerProfile(name="frozen", weight_norm=1.0),
)
MEASURED = HostProfile(
    profile="research",
    layers=LAYERS,
    class_accuracy=(90.0, 12.5, None),
    sharpness=Sharpness(radius=0.1, directions=4, mean_rise=0.021, largest_rise=0.2),
    seconds=0.004,
)


def run_with(*measured, profile="research"):
    """A run whose hosts have these profiles, one host each."""
    config = override(TrainingConfig(task="mnist1d"), {"telemetry": {"profile": profile}})
    payloads = [RunStarted(command="ppo", config=config, versions={}), *measured]
    events = [
        Event(
            run_id="run",
            sequence=number,
            monotonic=number,
            wall_time=number,
            round=2 if number else None,
            epoch=7 if number else None,
            environment=number - 1 if number else None,
            payload=payload,
        )
        for number, payload in enumerate(payloads)
    ]
    return fold(parse_event(encode_event(each)) for each in events)


def printed(state, width=200):
    file = io.StringIO()
    Console(file=file, width=width).print(ProfilesTable(profiles(state)))
    return file.getvalue()


def test_a_row_has_the_extremes_of_a_host():
    (row,) = profiles(run_with(MEASURED)).rows
    found = {
        name: (each.name, each.value)
        for name in (
            *("smallest_gradient", "largest_gradient", "largest_weights", "most_zeros"),
            *("worst_class", "best_class"),
        )
        for each in [getattr(row, name)]
    }
    assert found == {
        "smallest_gradient": ("blocks.1", 0.001),
        "largest_gradient": ("blocks.0", 0.5),
        "largest_weights": ("blocks.1", 3.0),
        "most_zeros": ("blocks.1", 0.25),
        "worst_class": ("1", 12.5),
        "best_class": ("0", 90.0),
    }
    assert (row.environment, row.round, row.epoch, row.sharpness) == (0, 2, 7, 0.021)
    assert row.most_exploding is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_gradient_that_is_not_a_number_is_the_largest_and_not_the_smallest(order):
    broken = replace(LAYERS[0], name="broken", gradient_norm=math.nan)
    layers = (*LAYERS, broken)[::order]
    (row,) = profiles(run_with(replace(MEASURED, layers=layers))).rows
    assert row.largest_gradient.name == "broken"
    assert row.smallest_gradient.name == "blocks.1"


def test_a_run_that_measures_nothing_says_which_flag_it_needs():
    assert profiles(run_with(profile="minimal")).empty == "needs --telemetry-profile standard"
    assert profiles(run_with(profile="standard")).empty == "not measured yet"
    assert profiles(run_with(MEASURED)).empty is None


def test_the_panel_changes_with_a_profile_only():
    state = run_with(MEASURED, MEASURED)
    assert len(frame(state, "hosts", 1).panels["profiles"].value.rows) == 2
    assert "profiles" not in frame(state, "hosts", 2).panels
    (layer, *_) = frame(state, "host/1").panels["host/1"].value.profile.layers
    assert layer == LAYERS[0]


def test_the_table_names_the_layers_and_leaves_out_what_was_not_measured():
    text = printed(run_with(MEASURED, replace(MEASURED, sharpness=None)))
    assert "0.001 blocks.1" in text
    assert "12.5 of 1" in text
    assert "0.021" in text
    assert "most exploding" not in text
    assert "last profile of each host (research)" in text
    assert printed(run_with(profile="minimal")) == ""


def test_the_table_counts_the_hosts_that_it_leaves_out():
    text = printed(run_with(*[MEASURED] * 10))
    assert "+2 hosts" in text
    assert max(map(len, printed(run_with(MEASURED), width=60).splitlines())) <= 60


def test_the_names_at_weights_and_biases_have_the_host():
    event = Event(
        run_id="run", sequence=1, monotonic=0, wall_time=0, environment=3, epoch=7, payload=MEASURED
    )
    found = metrics_of(event)
    assert found["profile/gradient_norm/blocks.1/host_3"] == 0.001
    assert found["profile/class_accuracy/1/host_3"] == 12.5
    assert found["profile/sharpness/host_3"] == 0.021
    assert not any("/2/" in name for name in found)
