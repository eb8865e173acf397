"""View models: progress, ETA from event times, round views, run reports."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from esper_karn import RunReport, RunState, fold, progress, reduce, round_view
from esper_leyline import RunSummary
from esper_leyline.wire import round_digits


def test_progress_is_unknown_before_the_first_event():
    now = progress(RunState())
    assert (now.rounds_done, now.round, now.epochs_done) == (0, 1, 0)
    assert (now.rounds_total, now.epochs_total, now.share, now.eta) == (None, None, None, None)


def test_progress_counts_the_epochs_of_the_current_round(run_of):
    events = run_of(4)
    at = next(
        number
        for number, event in enumerate(events)
        if event.kind == "epoch_completed" and event.round == 3 and event.environment == 1
    )
    state = fold(events[: at + 1])
    now = progress(state)
    assert (now.rounds_done, now.round, now.rounds_total) == (2, 3, 4)
    assert (now.epochs_done, now.epochs_total) == (2, 6)
    assert math.isclose(now.share, (2 + 2 / 6) / 4)
    # Every event after the first takes half a second, so the pace so far carries on.
    spent = 0.5 * (at - 1)
    assert now.elapsed == spent
    assert math.isclose(now.eta, (4 - (2 + 1 / 3)) * spent / (2 + 1 / 3))


def test_an_episode_that_ended_early_has_no_remaining_epochs(run_of):
    events = run_of(1)
    at = next(number for number, event in enumerate(events) if event.kind == "episode_outcome")
    early = events[at].payload.model_copy(update={"ended": "governor"})
    state = fold([*events[:at], replace(events[at], payload=early, epoch=1)])
    assert state.environments[0].episode.epochs == 1
    assert progress(state).epochs_done == 6


def test_the_eta_of_a_resumed_run_uses_the_pace_since_it_resumed(run_of):
    from esper_leyline.events import Event, RoundCompleted, RunResumed

    events = run_of(4, end=False)
    state = fold(events)
    count = len(events)
    envelope = {"run_id": state.run_id, "boot": 1, "wall_time": 2e9}
    resumed = RunResumed(checkpoint="c.pt", rounds_completed=2)
    (again,) = [
        event.payload
        for event in events
        if isinstance(event.payload, RoundCompleted) and event.payload.summary.round == 3
    ]
    for number, (payload, at) in enumerate([(resumed, 100.0), (again, 107.0)]):
        event = Event(**envelope, sequence=count + number, monotonic=at, payload=payload)
        state = reduce(state, event)
    assert progress(state).eta == pytest.approx(7.0)


def test_an_ended_run_has_no_eta(run_of):
    now = progress(fold(run_of(2)))
    assert (now.eta, now.share, now.round) == (None, 1.0, 2)


def test_a_round_view_has_the_update_of_its_own_round_only(run_of):
    state = fold(run_of(3))
    _, second, third = state.report.rounds.head
    assert round_view(state, third).update is state.update.payload
    assert round_view(state, third).stats is third
    assert round_view(state, second).update is None
    assert (second.rollbacks, third.rollbacks) == (1, 0)


@pytest.mark.parametrize(
    ("rounds", "size"), [(0, None), (1, None), (2, 1), (7, 3), (20, 10), (21, 10), (130, 10)]
)
def test_the_trend_compares_the_first_rounds_with_the_last(run_of, rounds, size):
    state = fold(run_of(rounds)) if rounds else RunState()
    trend = state.report.trend
    assert (trend.rounds if trend else None) == size
    if size:
        # The log holds six digits of each.
        returns = [round_digits(-1.0 + 4.0 * number / rounds) for number in range(1, rounds + 1)]
        assert math.isclose(trend.first, sum(returns[:size]) / size)
        assert math.isclose(trend.last, sum(returns[-size:]) / size)


@pytest.mark.parametrize("rounds", [1, 20, 21, 30, 130])
def test_condensed_rows_cover_every_round(run_of, rounds):
    report = fold(run_of(rounds)).report
    rows = report.rounds.condense(5)
    covered = [number for row in rows for number in range(row.first, row.last + 1)]
    assert covered == list(range(1, rounds + 1))
    assert len(rows) <= 25
    assert report.ops == ("WAIT", "GERMINATE", "PRUNE", "FOSSILIZE")
    assert report.rounds.total.germinated == 2 * rounds


def test_the_report_of_a_summary_equals_that_of_the_log(run_of):
    state = fold(run_of(30))
    rounds = [event.payload.summary for event in run_of(30) if event.kind == "round_completed"]
    summary = RunSummary(
        run_id=state.run_id,
        command="ppo",
        task="mnist1d",
        status="completed",
        started=0.0,
        seconds=180.0,
        rounds=tuple(rounds),
        host_parameters=782,
        checkpoint="checkpoints/30.pt",
    )
    assert RunReport.of(summary) == state.report
