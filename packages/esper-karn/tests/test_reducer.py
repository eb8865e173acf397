"""The reducer: the same state for any split of the log, and bounded memory."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from esper_karn import Episode, Folding, RunState, Series, fold, reduce
from esper_karn.state.decisions import DECISIONS
from esper_karn.state.episode import SPANS, better_episode
from esper_karn.state.episode_draft import EpisodeDraft
from esper_karn.state.reducer import _CASES
from esper_karn.state.run import NOTICES
from esper_leyline import (
    Blueprint,
    FactoredAction,
    Flag,
    Gate,
    GovernorCause,
    Op,
    Rollback,
    RunStatus,
    SeedEvent,
    SeedEventKind,
    SeedStage,
)
from esper_leyline.events import (
    PAYLOADS,
    CheckpointLoaded,
    CounterfactualMatrix,
    Decision,
    DegradationDetected,
    EntropyCollapse,
    Event,
    GradientPathology,
    HostStabilized,
    ImprovementDetected,
    MemoryWarning,
    PerformanceDegradation,
    PlateauDetected,
    RatioCollapse,
    RatioExplosion,
    RewardHackingSuspected,
    RunFailed,
    RunResumed,
    Throughput,
    ValueCollapse,
    Vitals,
    parse_event,
)
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.reports import ShapleyValues


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_split_and_any_repetition_of_a_log_equals_one_fold(data, run_of, as_log):
    events = run_of(data.draw(st.integers(1, 5)), update_first=data.draw(st.booleans()))
    whole = fold(events)
    state, position = RunState(), 0
    while position < len(events):
        # A reader that starts again hands over events that were folded before.
        start = data.draw(st.integers(0, position))
        end = data.draw(st.integers(position + 1, len(events)))
        state = fold(events[start:end], state)
        position = end
    # By text, because NaN is not equal to itself.
    assert repr(state) == repr(whole)
    parsed = [parse_event(line) for line in as_log(events).splitlines()]
    assert repr(fold(parsed)) == repr(whole)


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_state_taken_before_the_end_equals_the_fold_up_to_there(data, run_of):
    events = run_of(3, update_first=data.draw(st.booleans()))
    folding, taken = Folding(), []
    for position in sorted(data.draw(st.sets(st.integers(0, len(events)), min_size=1))):
        folding.take_all(events[:position])
        taken.append((position, folding.state(), repr(folding.state())))
    for position, state, text in taken:
        # It does not change when the fold goes on.
        assert repr(state) == text == repr(fold(events[:position]))


def test_unchanged_panels_are_not_built_again(run_of):
    events = run_of(2)
    folding = Folding(fold(events[:-1]))
    before = folding.state()
    folding.take(events[-1])
    after = folding.state()
    assert events[-1].kind == "run_completed"
    assert after.report is not before.report
    assert all(new is old for new, old in zip(after.environments, before.environments, strict=True))
    assert all(after.series[name] is series for name, series in before.series.items())


def test_the_state_of_a_whole_run(run_of):
    state = fold(run_of(4))
    assert state.run_id == "20250101-120000-mnist1d-0123abcd"
    assert state.started.config.task == "mnist1d"
    assert (state.status, state.ended, state.report.seconds) == (RunStatus.COMPLETED, True, 24.0)
    assert state.report.rounds_done == 4
    assert state.report.checkpoint == "checkpoints/4.pt"
    assert [each.last for each in state.report.rounds.head] == [1, 2, 3, 4]
    assert state.cursor.missing == 0
    assert state.update.round == 4
    assert state.notices.anomaly_count == 1
    assert state.notices.anomalies[0].text == "not finite: loss, 1 in a row"


def test_environments_follow_epochs_seed_events_and_outcomes(run_of):
    events = run_of(1)
    middle = next(
        number
        for number, event in enumerate(events)
        if event.kind == "epoch_completed" and event.environment == 1 and event.epoch == 2
    )
    state = fold(events[: middle + 1])
    assert [each.index for each in state.environments] == [0, 1]
    episode = state.environments[1].episode
    assert (episode.round, episode.epochs, episode.ended) == (1, 2, None)
    assert (episode.host.val_accuracy, episode.best_accuracy) == (41.0, 41.0)
    assert (episode.germinated, episode.fossilized, episode.pruned) == (1, 0, 0)
    assert [slot.slot for slot in episode.slots] == ["r0c0", "r0c1"]
    assert episode.slots[0].stage is SeedStage.BLENDING
    assert episode.slots[0].blueprint == Blueprint.NORM
    assert episode.slots[1].stage is SeedStage.DORMANT
    environment = fold(events).environments[1]
    episode = environment.episode
    assert (episode.ended, environment.last_return, episode.best_accuracy) == ("horizon", 1.5, 46.0)
    assert (episode.germinated, episode.fossilized, episode.pruned) == (1, 1, 0)
    assert environment.best_episode is episode


def test_a_new_round_starts_a_new_episode(run_of):
    events = run_of(2)
    first_of_two = next(
        number for number, event in enumerate(events) if event.round == 2 and event.environment == 0
    )
    environment = fold(events[: first_of_two + 1]).environments[0]
    episode = environment.episode
    assert (episode.round, episode.epochs, episode.ended, episode.best_accuracy) == (
        2,
        0,
        None,
        None,
    )
    assert (episode.germinated, episode.fossilized) == (1, 0)
    assert environment.last_return == 0.5
    assert environment.best_episode.round == 1


def test_an_episode_keeps_accuracy_stages_and_alpha_by_epoch(run_of):
    episode = fold(run_of(1)).environments[1].episode
    assert [(each.first, each.mean) for each in episode.accuracy.buckets] == [(2, 41.0), (3, 46.0)]
    first, second = episode.lifelines
    assert [(span.stage.name, span.start) for span in first.spans] == [
        ("TRAINING", 1),
        ("BLENDING", 2),
        ("FOSSILIZED", 3),
    ]
    assert [each.first for each in first.alpha.buckets] == [1, 2]
    assert (second.slot, second.spans) == ("r0c1", ())


def test_the_best_episode_has_the_highest_final_accuracy():
    low, high, same = (
        Episode(round=number, accuracy=Series().add(1, accuracy))
        for number, accuracy in enumerate([50.0, 60.0, 60.0], 1)
    )
    unmeasured = Episode(round=4, accuracy=Series().add(1, math.nan))
    best = None
    for episode in (unmeasured, low, high, same, unmeasured):
        best = better_episode(best, episode)
    assert best is high


def test_a_slot_keeps_its_latest_stages_only():
    moved = SeedEvent(
        kind=SeedEventKind.STAGE_CHANGED,
        slot="r0c1",
        source=SeedStage.RESETTING,
        target=SeedStage.DORMANT,
    )
    episode = EpisodeDraft()
    for epoch in range(SPANS + 6):
        episode.add_event(epoch, moved)
    (line,) = episode.freeze().lifelines
    assert [span.start for span in line.spans] == list(range(6, SPANS + 6))


def event(sequence, payload, **envelope):
    return Event(
        **{"run_id": "r", "monotonic": sequence, "wall_time": sequence, **envelope},
        sequence=sequence,
        payload=payload,
    )


def test_slots_are_known_from_lifecycle_events_alone():
    moved = SeedEvent(
        kind=SeedEventKind.STAGE_CHANGED,
        slot="r0c1",
        source=SeedStage.GERMINATED,
        target=SeedStage.TRAINING,
    )
    gone = replace(moved, source=SeedStage.RESETTING, target=SeedStage.DORMANT)
    germinated = {"kind": SeedEventKind.GERMINATED, "parameters": 33}
    born = replace(moved, **germinated, blueprint=Blueprint.NORM)
    users = replace(moved, **germinated, blueprint="wavelet", slot="r0c2")
    state = fold([event(0, born, environment=0), event(1, moved, environment=0)])
    assert fold([event(0, born)]).environments == ()
    (slot,) = state.environments[0].episode.slots
    assert (slot.slot, slot.stage, slot.parameters) == ("r0c1", SeedStage.TRAINING, 33)
    assert [notice.text for notice in state.notices.lifecycle] == [
        "r0c1 germinated norm, 33 parameters",
        "r0c1 germinated to training",
    ]
    latest_notice = reduce(state, event(2, users, environment=0)).notices.lifecycle[-1]
    assert latest_notice.text == "r0c2 germinated wavelet, 33 parameters"
    (slot,) = reduce(state, event(2, gone, environment=0)).environments[0].episode.slots
    assert (slot.stage, slot.blueprint, slot.parameters) == (SeedStage.DORMANT, None, 0)


def test_missing_events_are_counted(run_of):
    events = run_of(1)
    assert fold([*events[:3], *events[7:]]).cursor.missing == 4
    assert fold(events[5:]).cursor.missing == 5


def test_coalesced_samples_are_counted():
    samples = [event(number, Vitals(), coalesced=count) for number, count in enumerate([2, 0, 5])]
    assert fold([*samples, samples[-1]]).cursor.coalesced == 7


def test_an_event_of_another_run_starts_a_new_state(run_of):
    state = fold([*run_of(2), *run_of(1, end=False, run_id="next")])
    assert state.run_id == "next"
    assert state.report.rounds_done == 1
    assert not state.ended


def test_a_resumed_run_drops_the_rounds_that_it_repeats(run_of):
    events = run_of(4)
    before = fold(events)
    resumed = event(
        len(events),
        RunResumed(checkpoint="c.pt", rounds_completed=2),
        run_id=before.run_id,
        boot=1,
        monotonic=0.25,
    )
    state = reduce(before, resumed)
    assert state.status is RunStatus.RUNNING
    assert state.report.seconds is None
    assert state.report.rounds_done == 2
    assert [each.last for each in state.report.rounds.head] == [1, 2]
    assert [each.episode.epochs for each in state.environments] == [0, 0]
    assert [each.round for each in state.leaderboard.episodes] == [1, 1, 2, 2]
    assert (state.cursor.boot_start, state.cursor.boot_rounds) == (0.25, 2.0)


def test_a_failed_run_has_its_error():
    failed = RunFailed(error="RuntimeError: out of memory", rounds_completed=3, seconds=4.5)
    state = fold([event(0, failed)])
    assert (state.status, state.report.error) == (RunStatus.FAILED, "RuntimeError: out of memory")


def test_values_that_are_not_finite_do_not_spoil_a_series(run_of):
    series = fold(run_of(4)).series
    kl = series["kl"].buckets
    assert math.isclose(kl[0].mean, 0.001)
    assert kl[2].mean is None
    assert kl[2].samples == 1
    assert series["value_loss"].buckets[2].finite == 0
    assert series["kl"].latest == pytest.approx(0.004)


@pytest.mark.slow
def test_state_does_not_grow_with_the_log(run_of):
    short, long = (fold(run_of(rounds)) for rounds in (600, 1200))
    assert len(long.notices.lifecycle) == len(short.notices.lifecycle) == NOTICES
    assert len(repr(long)) < 1.2 * len(repr(short))


ROLLBACK = Rollback(cause=GovernorCause.DIVERGENCE, loss=12.5, threshold=9.0, restored_epoch=5)
POISONED = Rollback(cause=GovernorCause.NON_FINITE, loss=math.nan, threshold=None, restored_epoch=5)
SHAPLEY = ShapleyValues(values={"r0c0": 1.0}, exact=True)
ANOMALIES = [
    (
        ROLLBACK,
        "rolled back to epoch 5: divergence, loss 12.5 above 9",
    ),
    (
        POISONED,
        "rolled back to epoch 5: non_finite, loss nan",
    ),
    (
        RewardHackingSuspected(flag=Flag(kind="inflated_contribution", slot="r0c0")),
        "reward withheld: inflated_contribution in r0c0",
    ),
    (
        RewardHackingSuspected(flag=Flag(kind="odd")),
        "reward withheld: odd",
    ),
    (RatioExplosion(ratio=7.0, threshold=5.0), "ratio 7 above 5"),
    (RatioCollapse(ratio=0.01, threshold=0.1), "ratio 0.01 below 0.1"),
    (
        ValueCollapse(explained_variance=float("nan"), threshold=0.1),
        "explained variance nan below 0.1",
    ),
    (
        EntropyCollapse(head="op", entropy=0.008, threshold=0.1),
        "entropy of head op 0.008 below 0.1",
    ),
    (
        GradientPathology(where="lstm", norm=9000.0, threshold=100.0),
        "gradient norm of lstm 9e+03, threshold 100",
    ),
    (
        PerformanceDegradation(best=81.25, current=60.0),
        "accuracy 60.0 % after a best of 81.2 %",
    ),
    (
        MemoryWarning(device="cuda:0", used_mb=79000.0, total_mb=80000.0),
        "79,000 of 80,000 MB used on cuda:0",
    ),
]


@pytest.mark.parametrize(("payload", "text"), ANOMALIES)
def test_anomalies_are_described_and_counted(payload, text):
    state = reduce(RunState(), event(0, payload, environment=3))
    (notice,) = state.notices.anomalies
    assert (notice.kind, notice.text, notice.environment) == (payload.kind, text, 3)
    assert state.notices.anomaly_count == 1


HOST_CHANGES = [
    (HostStabilized(val_loss=1.25), "loss settled at 1.25"),
    (PlateauDetected(epochs_without_improvement=7), "no improvement for 7 epochs"),
    (DegradationDetected(drop=12.34), "accuracy fell by 12.3 points"),
    (ImprovementDetected(gain=6.0), "accuracy rose by 6.0 points"),
]


@pytest.mark.parametrize(("payload", "text"), HOST_CHANGES)
def test_changes_of_hosts_are_described(payload, text):
    state = reduce(RunState(), event(0, payload, environment=3))
    (notice,) = state.notices.hosts
    assert (notice.kind, notice.text, notice.environment) == (payload.kind, text, 3)
    assert state.notices.anomaly_count == 0


def test_every_kind_of_event_has_a_case():
    assert set(_CASES) == set(PAYLOADS)


def test_the_latest_decisions_are_kept_with_their_envelope():
    decision = Decision(
        action=FactoredAction(op=Op.PRUNE),
        slot="r0c0",
        succeeded=True,
        forced=False,
        value=math.nan,
    )
    state = RunState()
    for number in range(DECISIONS + 5):
        state = reduce(state, event(number, decision, round=2, epoch=number, environment=1))
    records = state.decisions.records
    assert len(records) == DECISIONS
    first, last = records[0], records[-1]
    assert (first.epoch, last.epoch) == (5, DECISIONS + 4)
    assert (last.sequence, last.round, last.environment) == (DECISIONS + 4, 2, 1)
    assert repr(last.decision) == repr(decision)
    assert state.decisions.at == last.sequence


def test_speed_and_vitals_are_the_latest_ones():
    speeds = [Throughput(host_epochs_per_second=value, seconds={}) for value in (2.0, 4.0)]
    events = [event(number, each, round=number + 1) for number, each in enumerate(speeds)]
    state = fold([*events, event(2, Vitals(cpu_percent=50.0)), event(3, Vitals(cpu_percent=60.0))])
    assert state.throughput.payload is speeds[1]
    assert [each.mean for each in state.series["host_epochs_per_second"].buckets] == [2.0, 4.0]
    assert (state.vitals.sequence, state.vitals.payload.cpu_percent) == (3, 60.0)


def test_counterfactuals_and_shapley_values_belong_to_an_episode():
    matrix = CounterfactualMatrix(configurations=())
    where = {"round": 1, "environment": 2}
    state = fold([event(0, matrix, epoch=4, **where), event(1, SHAPLEY, epoch=5, **where)])
    (environment,) = state.environments
    assert (environment.index, environment.episode.round) == (2, 1)
    assert environment.episode.counterfactuals.payload is matrix
    assert environment.episode.counterfactuals.epoch == 4
    assert environment.episode.shapley.payload is SHAPLEY
    assert fold([event(0, matrix, epoch=4, round=1)]).environments == ()
    next_round = reduce(state, event(2, SHAPLEY, round=2, environment=2)).environments[0].episode
    assert next_round.counterfactuals is None


def test_a_gate_is_recorded_at_its_slot_and_not_as_a_notice():
    gate = GateResult(gate=Gate.G2, passed_checks=("age",), failed_checks=("gradients",))
    evaluated = SeedEvent(
        kind=SeedEventKind.GATE_EVALUATED,
        slot="r0c1",
        source=SeedStage.TRAINING,
        target=SeedStage.TRAINING,
        gate=gate,
    )
    state = reduce(RunState(), event(0, evaluated, round=1, epoch=3, environment=0))
    (slot,) = state.environments[0].episode.slots
    assert slot.gate is gate
    assert state.notices.lifecycle == ()


def test_a_loaded_checkpoint_is_the_last_one():
    loaded = CheckpointLoaded(path="checkpoints/2.pt", rounds_completed=2)
    assert fold([event(0, loaded)]).report.checkpoint == "checkpoints/2.pt"


@pytest.mark.parametrize("rounds", [3, 4])
def test_a_state_survives_json(rounds, run_of):
    adapter = TypeAdapter(RunState)
    state = fold(run_of(rounds))  # in round 3 KL is NaN and the value loss infinite
    again = adapter.validate_json(adapter.dump_json(state))
    assert repr(again) == repr(state)
    later = replace(run_of(rounds)[-1], sequence=state.cursor.sequence + 1)
    assert repr(reduce(again, later)) == repr(reduce(state, later))
