"""Panels: everything that an interface shows, with names, units and reasons for what is missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest

from esper_karn import (
    VIEWS,
    RunPeek,
    RunReader,
    RunState,
    charts,
    decisions,
    encode_frame,
    fold,
    frame,
    header,
    hosts,
    list_runs,
    log_lines,
    machine,
    moment,
    peek,
    phase,
    policy,
    reduce,
    rewards,
    rounds,
    run_condition,
    run_frame,
)
from esper_leyline import FactoredAction, Flag, Op, RunStatus, override
from esper_leyline.events import (
    Decision,
    Event,
    HeadDecision,
    Phase,
    PPOUpdate,
    QValue,
    RunFailed,
    RunPhase,
    Vitals,
)
from esper_leyline.reports import RewardBreakdown
from esper_leyline.run_lock import LockProbe, LockState


def after(state, payload, **envelope):
    """Returns a state after one more event."""
    at = state.cursor.sequence + 1
    where = {"monotonic": float(at), "wall_time": 1.7e9 + at, **envelope}
    return reduce(state, Event(run_id=state.run_id or "r", sequence=at, payload=payload, **where))


def germination():
    """A decision to germinate, with the probabilities of the heads that it reads."""
    blueprint = [0.0] * 13
    blueprint[1], blueprint[3] = 0.25, 0.75
    return Decision(
        action=FactoredAction(op=Op.GERMINATE, slot=1, blueprint="norm", tempo=2, alpha_target=1),
        slot="r0c1",
        succeeded=True,
        forced=False,
        heads={
            "op": HeadDecision(probabilities=(0.4, 0.6), valid=(True, True)),
            "slot": HeadDecision(probabilities=(0.0, 1.0), valid=(False, True)),
            "blueprint": HeadDecision(
                probabilities=tuple(blueprint), valid=tuple(value > 0 for value in blueprint)
            ),
        },
        value=math.nan,
        q_values=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        reward=RewardBreakdown(
            components={"attribution": 1.5, "rent": -0.5},
            flags=(Flag(kind="inflated", slot="r0c1"),),
        ),
    )


def test_a_decision_card_names_what_was_chosen_and_what_else_was_open(run_of):
    state = after(fold(run_of(1)), germination(), round=1, epoch=2, environment=1)
    (card,) = decisions(state).cards
    assert (card.op, card.slot, card.environment, card.epoch) == ("GERMINATE", "r0c1", 1, 2)
    chosen = {head.head: (head.chosen, head.probability) for head in card.heads}
    assert chosen == {
        "op": ("GERMINATE", 0.6),
        "slot": ("r0c1", 1.0),
        "blueprint": ("norm", 0.75),
        "style": ("LINEAR_ADD", None),
        "tempo": ("8 epochs", None),
        "alpha_target": ("0.7", None),
    }
    heads = {head.head: head for head in card.heads}
    assert [(each.name, each.probability) for each in heads["op"].open] == [
        ("GERMINATE", 0.6),
        ("WAIT", 0.4),
    ]
    assert heads["slot"].masked == ("r0c0",)
    assert len(heads["blueprint"].masked) == 11
    assert (card.reward, card.parts) == (1.0, {"attribution": 1.5, "rent": -0.5})
    assert card.flags == ("inflated in r0c1",)
    assert card.q_values["FOSSILIZE"] == 5.0
    assert math.isnan(card.value)


def test_the_latest_decision_comes_first_and_a_host_has_its_own(run_of):
    state = fold(run_of(1))
    for epoch in range(30):
        state = after(state, germination(), round=1, epoch=epoch, environment=epoch % 2)
    assert [card.epoch for card in decisions(state).cards] == list(range(29, 9, -1))
    assert {card.environment for card in decisions(state, 1).cards} == {1}
    assert list(frame(state, "host/1").panels) == ["header", "host/1", "decisions/1"]


def test_the_reward_of_a_running_episode_is_the_sum_of_its_decisions(run_of):
    state = after(fold(run_of(1, end=False)), germination(), round=2, epoch=1, environment=1)
    state = after(state, germination(), round=2, epoch=2, environment=1)
    state = after(state, germination().model_copy(update={"reward": None}), environment=1, round=2)
    view = frame(state, "host/1").panels["host/1"].value
    assert (view.rewards, view.episode_return) == ({"attribution": 3.0, "rent": -1.0}, 2.0)
    ended = frame(fold(run_of(1)), "host/1").panels["host/1"].value
    assert (ended.rewards, ended.episode_return) == ({"terminal": 1.0}, 1.0)


def test_every_panel_without_content_says_why(run_of):
    quiet = fold(run_of(1)[:2])
    config = override(quiet.started.config, {"telemetry": {"level": "minimal"}})
    minimal = replace(quiet, started=quiet.started.model_copy(update={"config": config}))
    needs = "needs --telemetry-level normal"
    assert hosts(minimal).empty == decisions(minimal).empty == needs
    assert machine(minimal).speed_empty == needs
    assert machine(minimal).empty == "not measured yet"
    assert hosts(quiet).empty == "no host has finished an epoch yet"
    assert rewards(quiet).empty == "no episode has ended yet"
    assert rounds(quiet).empty == charts(quiet).empty == "no round has ended yet"
    assert policy(quiet).empty == "no update of the policy yet"
    assert policy(fold(run_of(1, policy=None))).empty == "this run has no policy"
    whole = after(fold(run_of(1)), germination(), round=1, environment=0)
    for view in VIEWS:
        for name, panel in frame(whole, view).panels.items():
            assert getattr(panel.value, "empty", None) is None or name in {"machine", "profiles"}


def test_a_host_says_which_measurement_needs_another_level(run_of):
    state = fold(run_of(1))
    config = override(state.started.config, {"telemetry": {"level": "minimal"}})
    state = replace(state, started=state.started.model_copy(update={"config": config}))
    view = frame(state, "host/0").panels["host/0"].value
    assert view.empty is None
    assert view.counterfactuals_empty == "needs --telemetry-level normal"


def test_ops_have_counts_shares_and_the_spread_of_their_q(run_of):
    numbers = dict.fromkeys(PPOUpdate.model_fields, None) | {
        "kind": "ppo_update",
        "head_entropy": {},
        "head_gradient_norm": {},
        "head_kl": {},
        "q_values": (
            QValue(op="WAIT", mean=10.0, variance=0.81, valid_steps=52),
            QValue(op="PRUNE", mean=None, variance=math.nan, valid_steps=0),
            QValue(op="ADVANCE", mean=1.0, variance=-1e-18, valid_steps=3),
        ),
        "learning_rate": 1e-3,
        "entropy_coefficient": 0.01,
        "passes": 4,
        "seconds": {},
    }
    view = policy(after(fold(run_of(2)), PPOUpdate(**numbers), round=2))
    found = {each.op: each for each in view.ops}
    assert list(found) == ["WAIT", "GERMINATE", "PRUNE", "FOSSILIZE", "ADVANCE"]
    assert (found["WAIT"].chosen, found["WAIT"].share) == (3, 0.6)
    assert found["WAIT"].q_deviation == pytest.approx(0.9)
    assert math.isnan(found["PRUNE"].q_deviation)
    assert found["ADVANCE"].q_deviation == 0.0
    assert found["GERMINATE"].q_deviation is None
    assert view.ops_round == 2


def test_rounds_are_a_table_with_a_total(run_of):
    view = rounds(fold(run_of(40)))
    assert (view.rows[0].first, view.rows[-1].last, len(view.rows)) == (1, 40, 25)
    assert view.total.germinated == 80
    assert view.ops == ("WAIT", "GERMINATE", "PRUNE", "FOSSILIZE")


def test_phases_have_their_durations(run_of):
    state = fold(run_of(1)[:1])
    for number, each in enumerate([Phase.PREPARING_DATA, Phase.BUILDING, Phase.TRAINING]):
        state = after(state, RunPhase(phase=each, detail="mnist1d"), monotonic=2.0 * number)
    view = phase(state)
    assert (view.phase, view.since) == ("training", 4.0)
    assert [(step.phase, step.seconds) for step in view.steps] == [
        ("preparing_data", 2.0),
        ("building", 2.0),
        ("training", None),
    ]
    # A process that resumes the run starts its own list.
    again = after(state, RunPhase(phase=Phase.BUILDING), monotonic=0.5, boot=1)
    assert [step.phase for step in phase(again).steps] == ["building"]


def test_the_log_is_filtered_by_group_text_and_host(run_of):
    state = fold(run_of(2))
    every = log_lines(state)
    assert {line.group for line in every.lines} == {"anomaly", "seed", "run"}
    assert {line.group for line in log_lines(state, groups=["seed"]).lines} == {"seed"}
    assert all("FOSSIL" in line.text.upper() for line in log_lines(state, text="Fossil").lines)
    assert {line.environment for line in log_lines(state, environment=1).lines} == {1}
    assert every.latest_anomaly.text == "not finite: loss, 1 in a row"
    assert log_lines(state, text="no such text").empty == "no line matches the filter"
    assert log_lines(RunState()).empty == "nothing happened yet"


def test_charts_name_series_that_are_there(run_of):
    state = fold(run_of(2))
    view = charts(state)
    drawn = {line.series for chart in view.charts for line in chart.lines}
    assert drawn <= set(state.series)
    assert view.steps_per_round == 6
    sent = frame(state, "charts").series
    assert set(sent) == drawn | {"seconds_worked"}


def test_the_header_of_an_ended_run_has_the_accuracy_of_its_last_round(run_of):
    events = run_of(2)
    state = fold(events)
    assert state.report.rounds.last.mean_accuracy is not None
    assert header(state).mean_accuracy == state.report.rounds.last.mean_accuracy


@pytest.mark.parametrize(
    ("telemetry", "says"),
    [
        (
            {"level": "minimal"},
            "not recorded: host epochs per second; needs --telemetry-level normal",
        ),
        ({"level": "normal"}, None),
    ],
)
def test_charts_that_a_level_does_not_record_are_named(run_of, telemetry, says):
    events = [each for each in run_of(2) if each.kind != "throughput"]
    state = fold(events)
    config = override(state.started.config, {"telemetry": telemetry})
    known = replace(state, started=state.started.model_copy(update={"config": config}))
    assert charts(known).missing == says


def test_no_chart_names_the_level_that_records_rounds(run_of):
    state = fold(run_of(1)[:2])
    config = override(state.started.config, {"telemetry": {"level": "off"}})
    known = replace(state, started=state.started.model_copy(update={"config": config}))
    assert charts(known).empty == "needs --telemetry-level minimal"


def test_nan_is_a_word_on_the_wire_and_a_count_in_a_series(run_of):
    state = fold(run_of(3))
    sent = json.loads(encode_frame(frame(state, "policy")))
    assert (sent["from"], sent["to"]) == (-1, state.cursor.sequence)
    assert sent["panels"]["policy"]["value"]["kl"] == "NaN"
    assert sent["panels"]["policy"]["value"]["value_loss"] == "Infinity"
    assert sent["series"]["kl"]["buckets"][2] == [3, 3, None, None, None, 1]
    assert sent["series"]["kl"]["buckets"][0] == [1, 1, 0.001, 0.001, 0.001, 0]
    assert sent["panels"]["header"]["value"]["status"] == "completed"


def test_a_paused_view_counts_what_it_holds_back(run_of):
    events = run_of(3)
    view = moment(fold(events[:30]), fold(events))
    assert (view.sequence, view.latest, view.held_back) == (29, len(events) - 1, len(events) - 30)
    assert (view.live, view.round, view.rounds_latest) == (False, 2, 3)
    assert moment(fold(events), fold(events)).live


def test_a_replay_is_the_run_at_each_of_its_moments(tmp_path, run_of, as_log):
    events = run_of(3)
    log = tmp_path / "events.jsonl"
    log.write_bytes(as_log(events))
    with RunReader(log) as run:
        for before, at in pairwise([-1, 5, 5, 40, 12, len(events) + 9]):
            found = run_frame(run, "run", before, at)
            state = fold(events[: at + 1])
            expected = frame(state, "run", before, generation=run.stream)
            shown = moment(state, fold(events))
            assert repr({**found.panels, "moment": None}) == repr(
                {**expected.panels, "moment": None}
            )
            assert found.panels["moment"].value == shown
            assert found.to_sequence == state.cursor.sequence


def test_another_stream_gives_the_whole_view(tmp_path, run_of, as_log):
    log = tmp_path / "events.jsonl"
    log.write_bytes(as_log(run_of(2)))
    with RunReader(log) as run:
        first = run_frame(run, "hosts")
        again = run_frame(run, "hosts", first.to_sequence, stream=first.stream)
        assert set(again.panels) == {"moment"}
        assert run_frame(run, "hosts", first.to_sequence, stream="other").from_sequence == -1
        replacement = tmp_path / "new"
        replacement.write_bytes(as_log(run_of(2, end=False)))
        replacement.replace(log)
        new = run_frame(run, "hosts", first.to_sequence, stream=first.stream)
        assert (new.from_sequence, new.stream == first.stream) == (-1, False)


@pytest.mark.parametrize(
    ("lock", "age", "condition"),
    [
        (LockState.HELD, 900.0, "live"),
        (LockState.FREE, 1.0, "crashed"),
        (LockState.UNKNOWN, 5.0, "live"),
        (LockState.UNKNOWN, 60.0, "stale"),
    ],
)
def test_a_run_without_an_end_is_live_stale_or_crashed(lock, age, condition, tmp_path, run_of):
    state = fold(run_of(1, end=False))
    found = run_condition(tmp_path, state, LockProbe(state=lock), state.cursor.last_wall + age)
    assert found.condition == condition


def test_a_run_waits_until_a_host_begins_and_is_ended_by_its_log(tmp_path, run_of):
    held, now = LockProbe(state=LockState.HELD), 2e9
    assert run_condition(tmp_path, fold(run_of(1)[:2]), held, now).condition == "waiting"
    assert run_condition(tmp_path, fold(run_of(1)), held, now).text == "completed"
    failed = after(fold(run_of(1, end=False)), RunFailed(error="E", rounds_completed=1, seconds=1))
    assert run_condition(tmp_path, failed, held, now).text == "failed: E"


def test_the_list_of_runs_has_progress_and_a_small_picture(tmp_path, run_of, as_log):
    for name, text in (("a", as_log(run_of(4))), ("b", b"garbage\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").write_bytes(text)
    good, bad = list_runs([peek(tmp_path / "a"), peek(tmp_path / "b")], now=0.0).runs
    assert (good.status, good.share, good.rounds_total) == ("completed", 1.0, 4)
    assert good.spark == (45.0, 50.0, 55.0, 60.0)
    assert (good.accuracy, good.best_accuracy, good.mean_return) == (60.0, 65.0, 3.0)
    assert (bad.status, bad.accuracy, bad.spark) == ("unreadable", None, ())
    assert list_runs([], now=0.0).empty.startswith("no run yet")
    nan = RunPeek(run_id="n", status=RunStatus.COMPLETED, best_accuracies=(math.nan, None))
    assert list_runs([nan], now=0.0).runs[0].best_accuracy is None


def test_vitals_are_those_of_the_latest_event(run_of):
    state = after(fold(run_of(1)), Vitals(cpu_percent=50.0, disk_free_mb=10.0, total_disk_mb=20.0))
    view = machine(state)
    assert (view.cpu_percent, view.disk_free_mb, view.total_disk_mb, view.empty) == (
        50,
        10,
        20,
        None,
    )
