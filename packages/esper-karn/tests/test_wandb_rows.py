"""What is sent to Weights & Biases, without the library: metrics, rows, alerts, seeds, names."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_karn import KarnError, Notice
from esper_karn.weights_and_biases.alerts import PAUSE_SECONDS, AlertLimiter
from esper_karn.weights_and_biases.metrics import metrics_of
from esper_karn.weights_and_biases.options import (
    WandbOptions,
    check_options,
    given_flags,
    wandb_id,
)
from esper_karn.weights_and_biases.rows import Row, RowBuilder
from esper_karn.weights_and_biases.seed_table import COLUMNS, MOST_ROWS, SeedTable
from esper_karn.weights_and_biases.sent import SENT_FILE, SentFile
from esper_leyline import LeylineError
from esper_leyline.events import Event, GpuVitals, RunResumed, Vitals


def rows_of(events: list[Event], builder: RowBuilder | None = None) -> list[Row]:
    builder = builder or RowBuilder()
    rows = [builder.add(event) for event in events]
    return [row for row in (*rows, builder.finish()) if row is not None]


def numbered(events: list[Event]) -> list[Event]:
    return [replace(each, sequence=i) for i, each in enumerate(events)]


def test_there_is_a_row_for_each_epoch_of_all_hosts(run_of):
    rows = rows_of(run_of(2))
    assert [row.values["round"] for row in rows] == pytest.approx(
        [1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2]
    )
    first, second = rows[0].values, rows[1].values
    assert first["train_loss/host_0"] == first["train_loss/host_1"] == first["train_loss/mean"] == 2
    assert "val_accuracy/mean" not in first  # it was not measured in the first epoch
    assert second["val_accuracy/host_0"] == 40
    assert second["val_accuracy/host_1"] == 41
    assert second["val_accuracy/mean"] == 40.5
    assert [row.sequence for row in rows] == sorted({row.sequence for row in rows})


@pytest.mark.parametrize("update_first", [False, True])
def test_a_round_and_its_update_are_in_the_row_of_its_last_epoch(run_of, update_first):
    values = rows_of(run_of(2, update_first=update_first))[2].values
    assert values["round"] == 1
    assert values["rounds/mean_return"] == 1.0
    assert values["rounds/ops/WAIT"] == 3
    assert (values["seeds/germinated"], values["seeds/fossilized"], values["seeds/pruned"]) == (
        *(2, 1, 0),
    )
    assert values["ppo/kl"] == pytest.approx(0.001)
    assert values["ppo/clip_fraction"] == 0.1
    assert values["ppo/explained_variance"] == 0.2
    assert values["ppo/head_entropy/op"] == 0.8
    assert "ppo/head_entropy/slot" not in values
    assert values["episodes/return"] == 1.0  # the mean of 0.5 and 1.5
    assert values["reward/terminal"] == 1.0


def test_nan_is_sent_as_it_is(run_of):
    values = rows_of(run_of(3))[-1].values
    assert math.isnan(values["ppo/kl"])
    assert values["ppo/value_loss"] == math.inf
    assert values["ppo/skipped"] == 1.0


def test_measurements_of_the_machine_are_averaged_in_a_row_and_can_be_left_out(run_of):
    events = run_of(1)
    vitals = [
        replace(
            events[0],
            payload=Vitals(
                cpu_percent=percent,
                gpus=(GpuVitals(index=1, name="a GPU", percent=2 * percent),),
            ),
        )
        for percent in (10.0, 30.0)
    ]
    made = numbered([*events[:3], *vitals, *events[3:]])
    (first, *_) = rows_of(made)
    assert first.values["machine/cpu_percent"] == 20
    assert first.values["machine/gpu_1/percent"] == 40
    assert "machine/gpu_1/index" not in first.values
    without = rows_of(made, RowBuilder(frozenset({"vitals"})))
    assert not any(name.startswith("machine") for row in without for name in row.values)


def test_a_resumed_run_repeats_its_rounds_in_later_rows(run_of):
    events = run_of(2, end=False)
    cut = [each for each in events if (each.round or 0) < 2 or (each.epoch or 9) < 3]
    cut = [each for each in cut if each.kind != "episode_outcome" or each.round == 1]
    resumed = replace(events[0], payload=RunResumed(checkpoint="a", rounds_completed=1))
    again = [replace(each, boot=1) for each in (resumed, *events) if each.round != 1]
    rows = rows_of(numbered([*cut, *again]))
    assert [row.values["round"] for row in rows if row.values["boot"] == 1] == pytest.approx(
        [4 / 3, 5 / 3, 2]
    )
    assert rows[-1].values["episodes/return"] == 1.5
    sequences = [row.sequence for row in rows]
    assert sequences == sorted(set(sequences))


def test_every_number_of_every_kind_has_a_name(run_of):
    for event in run_of(2):
        for name, value in metrics_of(event).items():
            assert name
            assert isinstance(value, float | int)


def notice(seconds: float, kind: str = "ratio_explosion") -> Notice:
    return Notice(
        sequence=0, wall_time=seconds, kind=kind, text="ratio 9 above 4", round=3, environment=1
    )


def test_there_is_one_alert_of_a_kind_in_ten_minutes():
    limiter = AlertLimiter()
    first = limiter.add(notice(0.0))
    assert first is not None
    assert (first.title, first.text) == ("ratio explosion", "round 3, host 1: ratio 9 above 4")
    assert not first.severe
    assert limiter.add(notice(PAUSE_SECONDS - 1)) is None
    assert limiter.add(notice(PAUSE_SECONDS - 1, "numerical_instability")).severe
    assert limiter.add(notice(5.0)) is None
    second = limiter.add(notice(PAUSE_SECONDS))
    assert second.text.endswith("(2 more since the last alert)")
    assert limiter.counts == {"ratio_explosion": 4, "numerical_instability": 1}


@given(times=st.lists(st.floats(0, 1e5), max_size=50))
def test_alerts_are_apart_whatever_the_clock_does(times):
    limiter = AlertLimiter()
    sent = [each for each in times if limiter.add(notice(each)) is not None]
    assert all(abs(b - a) >= PAUSE_SECONDS for a, b in pairwise(sent))


def test_the_table_of_seeds_holds_each_germination_fossilization_and_pruning(run_of):
    table = SeedTable()
    for event in run_of(2):
        table.add(event)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table.rows]
    assert [row["event"] for row in rows] == 2 * ["germinated"] + 2 * ["fossilized"] + 2 * [
        "germinated"
    ] + 2 * ["pruned"]
    assert rows[2] == {
        "round": 1,
        "epoch": 3,
        "host": 0,
        "slot": "r0c0",
        "event": "fossilized",
        "blueprint": "norm",
        "parameters": 33,
        "age": 2,
        "alpha": 0.0,
        "contribution": 1.5,
    }
    json.dumps(list(table.rows))


def test_the_table_of_seeds_counts_the_rows_that_it_drops(run_of):
    table = SeedTable()
    seed = next(each for each in run_of(1) if each.kind == "seed_germinated")
    for _ in range(MOST_ROWS + 3):
        table.add(seed)
    assert (len(table.rows), table.left_out) == (MOST_ROWS, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wandb_project": ""}, "--wandb-project '' has 0 characters"),
        ({"wandb_project": "a/b"}, "--wandb-project 'a/b' has a '/'"),
        ({"wandb_project": "x" * 129}, "has 129 characters; use 1 to 128"),
        ({"wandb_entity": " "}, "--wandb-entity"),
        ({"wandb_group": "g" * 200}, "--wandb-group"),
        ({"wandb_name": ""}, "--wandb-name"),
        ({"wandb_tags": ("a", "")}, "--wandb-tags '' has 0 characters; use 1 to 64"),
        ({"wandb_project": "a\x1b[2J"}, "--wandb-project 'a\\x1b[2J' has a '\\x1b'"),
    ],
)
def test_names_that_wandb_refuses_are_refused_before(options, message):
    with pytest.raises(KarnError) as caught:
        check_options(WandbOptions(**options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_without_the_library_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LeylineError, match=r"uv sync --extra wandb$"):
        check_options(WandbOptions())
    check_options(WandbOptions(wandb_mode="disabled"))


def test_given_flags_are_the_command_line_of_options():
    assert given_flags(WandbOptions()) == []
    options = WandbOptions(wandb_tags=("a", "b"), wandb_mode="offline", wandb_no_code=True)
    assert given_flags(options) == [
        *("--wandb-tags", "a", "b", "--wandb-mode", "offline", "--wandb-no-code"),
    ]


@given(st.text(min_size=1, max_size=300))
def test_any_run_id_gives_an_id_that_wandb_accepts(run_id):
    made = wandb_id(run_id)
    assert 0 < len(made) <= 128
    assert not set(made) & set("/\\#?%: \n")
    assert wandb_id(run_id) == made


def test_a_run_keeps_its_own_id():
    assert wandb_id("20250101-120000-mnist1d-0123abcd") == "20250101-120000-mnist1d-0123abcd"
    assert wandb_id("a/b") != wandb_id("a-b")


def test_how_far_a_run_was_sent_is_kept_for_each_project(tmp_path: Path):
    SentFile(tmp_path, "/esper/a").write(41)
    SentFile(tmp_path, "/other/a").write(3)
    assert SentFile(tmp_path, "/esper/a").sequence == 41
    assert SentFile(tmp_path, "/esper/b").sequence == -1


@given(content=st.binary(max_size=200))
def test_a_damaged_file_of_what_was_sent_gives_one_line(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent")
    (folder / SENT_FILE).write_bytes(content)
    try:
        sent = SentFile(folder, "/esper/a")
    except KarnError as error:
        message = str(error)
    else:
        message = f"remove it {sent.sequence}"
    assert "remove it" in message
    assert "\n" not in message
