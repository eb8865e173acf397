"""View models: progress, ETA from event times, learning at a glance."""

from __future__ import annotations

import math

import pytest

from esper_karn import RunState, closing, fold, header, progress, reduce, round_line
from esper_leyline import RunSummary


def test_the_header_tells_what_run_it_is(run_of):
    facts = header(fold(run_of(4)))
    assert (facts.command, facts.task, facts.device) == ("ppo", "mnist1d", "cpu")
    assert (facts.rounds, facts.environments, facts.max_epochs) == (4, 2, 3)
    assert (facts.host_parameters, facts.policy_parameters) == (782, 45_123)
    assert header(RunState()).task is None


def test_progress_before_the_first_event_is_unknown():
    now = progress(RunState())
    assert (now.rounds_done, now.round, now.epochs_done) == (0, 1, 0)
    assert (now.rounds_total, now.epochs_total, now.share, now.eta) == (None, None, None, None)


def test_progress_counts_the_epochs_of_the_round_at_work(run_of):
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
    # Every event takes half a second, so the pace so far carries on.
    spent = 0.5 * at
    assert now.elapsed == spent
    assert math.isclose(now.eta, (4 - (2 + 1 / 3)) * spent / (2 + 1 / 3))


def test_a_finished_episode_has_no_epochs_left(run_of):
    events = run_of(1)
    at = next(number for number, event in enumerate(events) if event.kind == "episode_outcome")
    early = events[at].payload.model_copy(update={"ended": "governor"})
    state = fold([*events[:at], events[at].model_copy(update={"payload": early, "epoch": 1})])
    assert state.environments[0].epoch == 1
    assert progress(state).epochs_done == 6


def test_the_eta_of_a_resumed_run_is_measured_from_its_resumption(run_of):
    from esper_leyline.events import Event, RoundCompleted, RunResumed

    events = run_of(4, end=False)
    state = fold(events)
    count = len(events)
    envelope = {"run_id": state.run_id, "boot": 1, "wall_time": 2e9}
    resumed = RunResumed(checkpoint="c.pt", rounds_completed=2)
    again = RoundCompleted(summary=state.facts.rounds.head[2])
    for number, (payload, at) in enumerate([(resumed, 100.0), (again, 107.0)]):
        event = Event(**envelope, sequence=count + number, monotonic=at, payload=payload)
        state = reduce(state, event)
    assert progress(state).eta == pytest.approx(7.0)


def test_an_ended_run_has_no_eta(run_of):
    now = progress(fold(run_of(2)))
    assert (now.eta, now.share, now.round) == (None, 1.0, 2)


def test_a_round_line_takes_only_its_own_update(run_of):
    state = fold(run_of(3))
    third = round_line(state, state.facts.rounds.head[2])
    assert third.skipped == "the loss is not finite"
    assert math.isnan(third.kl)
    second = round_line(state, state.facts.rounds.head[1])
    assert (second.kl, second.entropy, second.skipped, second.rollbacks) == (None, None, None, 1)


@pytest.mark.parametrize(
    ("rounds", "size"), [(0, None), (1, None), (2, 1), (7, 3), (20, 10), (21, 10), (130, 10)]
)
def test_learning_compares_the_first_rounds_with_the_last(run_of, rounds, size):
    state = fold(run_of(rounds)) if rounds else RunState()
    view = closing(state)
    assert (view.learning.rounds if view.learning else None) == size
    if size:
        returns = [-1.0 + 4.0 * number / rounds for number in range(1, rounds + 1)]
        assert math.isclose(view.learning.first, sum(returns[:size]) / size)
        assert math.isclose(view.learning.last, sum(returns[-size:]) / size)


@pytest.mark.parametrize("rounds", [1, 20, 21, 30, 130])
def test_closing_rows_cover_every_round_in_a_few_lines(run_of, rounds):
    view = closing(fold(run_of(rounds)))
    covered = [number for row in view.rows for number in range(row.first, row.last + 1)]
    assert covered == list(range(1, rounds + 1))
    assert len(view.rows) <= 25
    assert view.ops == ("WAIT", "GERMINATE", "PRUNE", "FOSSILIZE")
    assert view.total.germinated == 2 * rounds


def test_a_summary_closes_like_the_log_it_came_from(run_of):
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
    )
    assert closing(summary) == closing(state)
