"""Runs side by side: areas below curves, pairs of episodes, differences, and blueprints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_karn import KarnError
from esper_karn.analytics.comparison import compare_runs
from esper_karn.analytics.database import open_runs
from esper_karn.analytics.scoreboard import score_blueprints
from esper_karn.comparison.comparison import compare as compare_facts
from esper_karn.comparison.comparison import config_differences, one_task
from esper_karn.comparison.curves import area_under_curve, summarize_curve
from esper_karn.comparison.pairing import Outcome, pair_runs, paired_differences
from esper_karn.runs.facts import FactsReader
from esper_leyline.events import EpisodeOutcome, RunResumed, RunStarted

VALUES = st.floats(-1e6, 1e6)


def curves_of(least):
    points = st.dictionaries(st.integers(1, 500), VALUES, min_size=least, max_size=30)
    return points.map(lambda found: sorted(found.items()))


CURVES, LONG_CURVES = curves_of(1), curves_of(3)
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        rng_seed=st.integers(0, 12),
        accuracy=st.none() | st.floats(),
        episode_return=st.none() | VALUES,
    ),
    max_size=30,
)


def test_the_area_of_a_straight_line_is_its_middle():
    assert area_under_curve([(1, 40.0), (3, 60.0)]) == 50.0
    assert area_under_curve([(1, 0.0), (2, 10.0), (5, 10.0)]) == pytest.approx(8.75)
    assert area_under_curve([(7, 3.0)]) == 3.0
    assert area_under_curve([]) is None


@given(CURVES)
def test_the_area_lies_between_the_lowest_and_the_highest_value(points):
    values = [value for _, value in points]
    area = area_under_curve(points)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= area <= max(values) + slack


@given(CURVES, st.integers(1, 1000))
def test_the_area_does_not_depend_on_the_number_of_the_first_round(points, shift):
    moved = [(at + shift, value) for at, value in points]
    assert area_under_curve(moved) == area_under_curve(points)


@given(CURVES, VALUES)
def test_the_area_of_a_raised_curve_is_raised_as_much(points, rise):
    raised = area_under_curve([(at, value + rise) for at, value in points])
    assert raised == pytest.approx(area_under_curve(points) + rise, abs=1e-6)


@given(LONG_CURVES, st.integers(0, 100))
def test_parts_of_a_curve_have_the_area_of_the_whole(points, place):
    cut = 1 + place % (len(points) - 2)
    parts = [points[: cut + 1], points[cut:]]
    total = sum(area_under_curve(part) * (part[-1][0] - part[0][0]) for part in parts)
    width = points[-1][0] - points[0][0]
    assert area_under_curve(points) == pytest.approx(total / width, rel=1e-9, abs=1e-6)


def test_a_curve_ends_at_the_given_round_and_leaves_out_gaps():
    points = [(1, 10.0), (2, math.nan), (3, 30.0), (4, None), (5, 90.0), (6, math.inf)]
    summary = summarize_curve(points, last_round=4)
    assert (summary.best, summary.last, summary.area) == (90.0, 90.0, 20.0)
    empty = summarize_curve([(1, math.nan)])
    assert (empty.best, empty.last, empty.area) == (None, None, None)


@given(OUTCOMES, OUTCOMES)
def test_the_baseline_minus_a_run_is_the_run_minus_the_baseline_negated(mine, theirs):
    there, back = paired_differences(mine, theirs), paired_differences(theirs, mine)
    assert there == tuple(tuple(-each for each in column) for column in back)


@given(OUTCOMES, OUTCOMES, st.randoms())
def test_pairs_are_the_seeds_of_both_runs_in_any_order(mine, theirs, random):
    def seeds(outcomes, name="accuracy"):
        known = [(each.rng_seed, getattr(each, name)) for each in outcomes]
        return {seed for seed, value in known if value is not None and math.isfinite(value)}

    accuracies, returns = paired_differences(mine, theirs)
    assert len(accuracies) <= len(seeds(mine) & seeds(theirs))
    assert len(returns) == len(seeds(mine, "episode_return") & seeds(theirs, "episode_return"))
    shuffled = random.sample(mine, len(mine))
    again, _ = paired_differences(shuffled, theirs)
    assert again == pytest.approx(accuracies, rel=1e-9, abs=1e-9, nan_ok=True)


def test_the_largest_numbers_neither_overflow_nor_leave_an_infinite_difference():
    largest = 1.7e308
    mine = [Outcome(rng_seed=0, accuracy=largest, episode_return=largest)] * 3
    theirs = [Outcome(rng_seed=0, accuracy=-largest, episode_return=largest)]
    accuracies, returns = paired_differences(mine, theirs)
    assert accuracies == ()
    assert returns == pytest.approx((0.0,), abs=1e294)


@given(OUTCOMES)
def test_a_run_does_not_differ_from_itself(outcomes):
    _, returns = paired_differences(outcomes, outcomes)
    assert set(returns) <= {0.0}


def test_few_pairs_have_no_interval():
    def outcomes(*accuracies):
        return [
            Outcome(rng_seed=seed, accuracy=accuracy, episode_return=None)
            for seed, accuracy in enumerate(accuracies)
        ]

    one = pair_runs(("a", outcomes(3.0)), ("b", outcomes(1.0)))
    assert (one.accuracy.hosts, one.accuracy.mean, one.accuracy.low) == (1, 2.0, None)
    assert (one.episode_return.hosts, one.episode_return.mean) == (0, None)
    two = pair_runs(("a", outcomes(3.0, 4.0)), ("b", outcomes(1.0, 1.0)))
    assert two.accuracy.low < two.accuracy.mean < two.accuracy.high


def with_payload(events, kind, change):
    return [
        replace(event, payload=change(event.payload)) if isinstance(event.payload, kind) else event
        for event in events
    ]


def of_task(events, task):
    def change(started):
        return started.model_copy(
            update={"config": started.config.model_copy(update={"task": task})}
        )

    return with_payload(events, RunStarted, change)


@pytest.fixture
def compare(write_run, caches):
    def compare_logs(**texts):
        runs = [write_run(name, text) for name, text in texts.items()]
        with open_runs(runs, caches) as database:
            return compare_runs(database)

    return compare_logs


def both_ways(runs, caches):
    """Compares runs by SQL, as the terminal does, and from their logs, as the page does."""
    with open_runs(runs, caches) as database:
        by_sql = compare_runs(database)
    readers = [FactsReader(run) for run in runs]
    from_logs = compare_facts([reader.read() for reader in readers])
    for reader in readers:
        reader.close()
    return by_sql, from_logs


def test_the_page_and_the_terminal_compare_alike(write_run, caches, run_of, as_log):
    runs = [
        write_run("a", as_log(run_of(rounds=3))),
        write_run("b", as_log(run_of(rounds=4))),
        write_run("c", as_log(run_of(rounds=4, end=False))),
        write_run("d", as_log(run_of(rounds=2)[:3])),
        write_run("e", as_log(resumed(run_of(rounds=4, end=False), run_of(rounds=4)))),
    ]
    by_sql, from_logs = both_ways(runs, caches)
    assert from_logs == by_sql
    assert [run.rounds for run in from_logs.runs] == [3, 4, 4, 0, 4]
    assert from_logs.paired[-1].accuracy.hosts == 6


def resumed(events, again):
    """A log of a run that was killed after its third round and went on after its second."""
    kept = [event for event in events if (event.round or 0) <= 3]
    rest = [
        replace(again[0], payload=RunResumed(rounds_completed=2)),
        *(event for event in again if (event.round or 0) > 2 or event.kind == "run_completed"),
    ]
    first = kept[-1].sequence + 1
    return [
        *kept,
        *(replace(event, sequence=first + n, boot=1) for n, event in enumerate(rest)),
    ]


def test_what_is_added_to_a_log_is_read_and_a_replaced_log_is_read_again(write_run, run_of, as_log):
    events = run_of(rounds=4)
    run = write_run("a", as_log(events[:-60]))
    reader = FactsReader(run)
    before = reader.read()
    (run / "events.jsonl").write_bytes(as_log(events))
    after = reader.read()
    assert before.rounds_done < after.rounds_done == 4
    (run / "new").write_bytes(as_log(run_of(rounds=1)))
    (run / "new").replace(run / "events.jsonl")
    assert reader.read().rounds_done == 1
    reader.close()


def test_runs_are_compared_over_the_rounds_that_both_have(compare, run_of, as_log):
    short, long = as_log(run_of(rounds=2)), as_log(run_of(rounds=4))
    comparison = compare(short=short, long=long)
    assert comparison.task == "mnist1d"
    assert comparison.area_rounds == 2
    first, second = comparison.runs
    assert (first.run, first.rounds, first.status) == ("short", 2, "completed")
    assert (first.accuracy.best, first.accuracy.last, first.accuracy.area) == (60.0, 60.0, 55.0)
    assert (second.accuracy.best, second.accuracy.area) == (60.0, 47.5)
    assert (second.fossilized, second.fossilized_per_host) == (2, 0.25)
    assert (second.seconds, second.host_parameters, second.policy_parameters) == (24.0, 782, 45_123)
    assert [(each.key, each.values) for each in comparison.differences] == [("n_episodes", (2, 4))]


def test_episodes_of_the_same_host_are_paired(compare, run_of, as_log):
    def better(outcome):
        host = replace(outcome.host, val_accuracy=outcome.host.val_accuracy + 1.5)
        return outcome.model_copy(update={"host": host})

    events = run_of(rounds=2)
    comparison = compare(
        a=as_log(events), b=as_log(with_payload(run_of(rounds=3), EpisodeOutcome, better))
    )
    (pair,) = comparison.paired
    assert (pair.run, pair.baseline) == ("b", "a")
    assert (pair.accuracy.hosts, pair.accuracy.mean) == (4, 1.5)
    assert (pair.episode_return.low, pair.episode_return.high) == (0.0, 0.0)


def test_runs_of_other_hosts_are_not_paired(compare, run_of, as_log):
    def other(outcome):
        return outcome.model_copy(update={"rng_seed": outcome.rng_seed + 1000})

    events = run_of(rounds=2)
    moved = as_log(with_payload(events, EpisodeOutcome, other))
    assert compare(a=as_log(events), b=moved).paired == ()


def test_a_run_without_a_round_has_no_numbers(compare, run_of, as_log):
    begun = as_log(run_of(rounds=2)[:3])
    empty = compare(begun=begun, whole=as_log(run_of(rounds=2))).runs[0]
    assert (empty.rounds, empty.accuracy.best, empty.mean_return.area) == (0, None, None)
    assert empty.fossilized_per_host is None


def test_runs_of_different_tasks_are_refused_in_one_line(compare, run_of, as_log):
    with pytest.raises(KarnError, match=r"^run 'a' trained mnist1d and run 'b' trained digits; n"):
        compare(a=as_log(run_of()), b=as_log(of_task(run_of(), "digits")))
    with pytest.raises(KarnError, match="has no run_started"):
        one_task({"a": None})


def test_only_keys_that_differ_are_listed_one_row_a_key():
    found = config_differences(
        [
            {"seed": 1, "ppo": {"clip": 0.2, "epochs": 4}, "slots": None},
            {"seed": 1, "ppo": {"clip": 0.1, "epochs": 4}, "slots": ["r0c0"]},
        ]
    )
    assert [(each.key, each.values) for each in found] == [
        ("ppo.clip", (0.2, 0.1)),
        ("slots", (None, ["r0c0"])),
    ]


def test_a_damaged_configuration_is_one_line(compare, run_of, as_log):
    damaged = as_log(run_of()).replace(b'"seed":42', b'"seed":-42')
    with pytest.raises(KarnError) as caught:
        compare(a=as_log(run_of()), b=damaged)
    assert "configuration in the log of run 'b' is damaged: seed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_scoreboard_counts_fates_and_divides_by_parameters(write_run, caches, run_of, as_log):
    runs = [
        write_run("a", as_log(run_of(rounds=4))),
        write_run("b", as_log(of_task(run_of(rounds=2), "digits"))),
    ]
    with open_runs(runs, caches) as database:
        scores = score_blueprints(database)
    assert [(each.task, each.blueprint, each.germinated) for each in scores] == [
        *(("digits", "norm", 4), ("mnist1d", "norm", 8)),
    ]
    score = scores[1]
    assert (score.fossilized, score.pruned, score.unfinished, score.measured) == (4, 4, 0, 8)
    assert (score.contribution, score.parameters) == (1.5, 33.0)
    assert score.contribution_per_1000 == pytest.approx(1000 * 1.5 / 33)
