from __future__ import annotations

from dataclasses import replace

import pytest

from esper_leyline import (
    Blueprint,
    CounterfactualConfig,
    EpisodeEnd,
    Flag,
    GovernorCause,
    HostPlacement,
    Op,
    RewardBreakdown,
    Rollback,
    SeedEvent,
    SeedEventKind,
    SeedStage,
)
from esper_leyline.events import HeadDecision
from esper_leyline.reports import ShapleyValues
from esper_simic import ActorStep, RoundRecorder

from .reports import act, report
from .toy_environments import RecordedTelemetry

GERMINATED = SeedEvent(
    kind=SeedEventKind.GERMINATED,
    slot="r0c1",
    source=SeedStage.DORMANT,
    target=SeedStage.GERMINATED,
    blueprint=Blueprint.NORM,
    parameters=33,
)
CHANGED = replace(GERMINATED, kind=SeedEventKind.STAGE_CHANGED)


@pytest.fixture
def telemetry():
    return RecordedTelemetry()


@pytest.fixture
def recorder(telemetry):
    return RoundRecorder(telemetry, round_number=4, environments=2)


def choice(op=Op.WAIT, slot=0):
    return ActorStep(action=act(op, slot), forced=False)


def reward(*flags, **components):
    return RewardBreakdown(components=components, flags=flags)


def test_events_of_a_step_come_in_order(telemetry, recorder):
    current = report(
        environment=1,
        events=(CHANGED, GERMINATED),
        counterfactuals=(CounterfactualConfig(active=(), accuracy=20.0),),
        shapley=ShapleyValues(values={"r0c1": 2.5}, exact=True),
        rollback=Rollback(
            cause=GovernorCause.NON_FINITE, loss=9.0, threshold=None, restored_epoch=0
        ),
        ended=EpisodeEnd.GOVERNOR,
    )
    recorder.step(
        1,
        report(),
        choice(Op.GERMINATE, 1),
        current,
        reward(Flag(kind="inflated_contribution", slot="r0c1"), rent=-1.0),
    )
    assert [event.kind for event in telemetry.events] == [
        "seed_stage_changed",
        "seed_germinated",
        "decision",
        "reward_hacking_suspected",
        "epoch_completed",
        "counterfactual_matrix",
        "shapley_measured",
        "governor_rolled_back",
        "episode_outcome",
    ]
    where = {(event.round, event.epoch, event.environment) for event in telemetry.events}
    assert where == {(4, current.epoch, 1)}


def test_parts_of_a_report_are_emitted_as_they_are(telemetry, recorder):
    current = report(
        events=(GERMINATED, CHANGED),
        shapley=ShapleyValues(values={"r0c0": 1.5, "r0c2": -0.5}, exact=False, permutations=16),
        rollback=Rollback(
            cause=GovernorCause.NON_FINITE, loss=9.0, threshold=None, restored_epoch=0
        ),
        ended=EpisodeEnd.GOVERNOR,
    )
    paid = RewardBreakdown(components={"rent": -1.0}, notes=("capped",), flags=(Flag(kind="odd"),))
    recorder.step(0, report(), choice(), current, paid)
    by_kind = {event.kind: event.payload for event in telemetry.events}
    assert by_kind["seed_germinated"] is GERMINATED
    assert by_kind["seed_stage_changed"] is CHANGED
    assert by_kind["shapley_measured"] is current.shapley
    assert by_kind["governor_rolled_back"] is current.rollback
    assert by_kind["decision"].reward is paid
    assert by_kind["epoch_completed"].host == by_kind["episode_outcome"].host == current.host


def test_a_round_counts_its_rollbacks_by_cause(telemetry, recorder):
    causes = (GovernorCause.DIVERGENCE, GovernorCause.NON_FINITE)
    for index, cause in enumerate(causes):
        fatal = Rollback(cause=cause, loss=99.0, threshold=12.0, restored_epoch=0)
        last = report(rollback=fatal, ended=EpisodeEnd.GOVERNOR)
        recorder.step(index, report(), choice(), last, reward())
    summary = recorder.finish()
    assert summary.rollbacks == 2
    assert summary.rollback_causes == {"divergence": 1, "non_finite": 1}
    assert [found.cause for found in telemetry.of("governor_rolled_back")] == list(causes)


def test_fresh_hosts_are_recorded_with_their_placement(telemetry, recorder):
    hosts = [report(environment=index, epoch=0, rng_seed=7 + index) for index in range(2)]
    recorder.start(hosts, [HostPlacement(device="cpu"), HostPlacement(device="cuda:1", worker=3)])
    first, second = telemetry.events
    assert (first.kind, first.round, first.epoch, first.environment) == ("episode_started", 4, 0, 0)
    assert (first.payload.rng_seed, first.payload.device, first.payload.worker) == (7, "cpu", None)
    assert (second.payload.rng_seed, second.payload.device, second.payload.worker) == (
        8,
        "cuda:1",
        3,
    )


def test_a_decision_has_its_reason_and_its_rejection(telemetry, recorder):
    chosen = ActorStep(action=act(Op.PRUNE, 1), forced=False, reason="it adds nothing")
    after = report(action_succeeded=False, rejection="the seed is too young")
    recorder.step(0, report(), chosen, after, reward())
    (found,) = telemetry.of("decision")
    assert (found.reason, found.rejection) == ("it adds nothing", "the seed is too young")


def test_a_decision_has_its_action_and_its_reward(telemetry, recorder):
    after = report(action_succeeded=False)
    recorder.step(0, report(), choice(Op.PRUNE, 2), after, reward(rent=-0.5, warnings=-0.1))
    (found,) = telemetry.of("decision")
    assert (found.slot, found.succeeded, found.reward.total) == ("r0c2", False, pytest.approx(-0.6))
    assert found.reward.components == {"rent": -0.5, "warnings": -0.1}
    recorder.step(0, report(), choice(), report(), reward())
    assert telemetry.of("decision")[1].slot is None


def test_a_decision_says_how_it_came_about(telemetry, recorder):
    """Values by op as the policy gave them, and null where the policy has none."""
    op = HeadDecision(probabilities=(0.25, 0.75), valid=(True, True))
    policys = ActorStep(
        action=act(Op.ADVANCE, 1),
        forced=True,
        heads={"op": op},
        value=1.5,
        q_values=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    )
    recorder.step(0, report(), policys, report(epoch=7), reward())
    recorder.step(0, report(), choice(), report(epoch=8), reward())
    of_policy, of_none = telemetry.of("decision")
    assert (of_policy.action, of_policy.forced) == (policys.action, True)
    assert of_policy.heads == {"op": op}
    assert (of_policy.value, of_policy.q_values) == (1.5, policys.q_values)
    assert (of_none.value, of_none.q_values, of_none.heads) == (None, None, {})
    assert of_none.forced is False
    # Without a statement nothing counts as rejected.
    recorder.step(0, report(), choice(), report(action_succeeded=None), reward())
    assert telemetry.of("decision")[-1].succeeded
    assert [event.epoch for event in telemetry.events_of("decision")] == [7, 8, 3]


def test_a_flag_is_emitted_with_its_slot(telemetry, recorder):
    recorder.step(
        0,
        report(),
        choice(),
        report(),
        reward(Flag(kind="inflated_contribution", slot="r0c2"), Flag(kind="odd")),
    )
    found = telemetry.of("reward_hacking_suspected")
    assert [(each.flag.kind, each.flag.slot) for each in found] == [
        ("inflated_contribution", "r0c2"),
        ("odd", None),
    ]


def test_an_outcome_sums_its_episode(telemetry, recorder):
    recorder.step(
        0,
        report(),
        choice(Op.GERMINATE, 1),
        report(events=(GERMINATED,), val_accuracy=70.0),
        reward(rent=-0.25, terminal=0.0),
    )
    last = report(val_accuracy=60.0, ended=EpisodeEnd.HORIZON, epoch=20, fossil_parameters=7)
    recorder.step(0, report(), choice(), last, reward(rent=-0.25, terminal=2.0))
    (event,) = telemetry.events_of("episode_outcome")
    found = event.payload
    assert found.episode_return == pytest.approx(1.5)
    assert found.reward_components == {"rent": -0.5, "terminal": 2.0}
    assert (found.host.val_accuracy, found.best_val_accuracy) == (60.0, 70.0)
    assert (found.germinated, found.fossilized, found.pruned, event.epoch) == (1, 0, 0, 20)


def test_a_round_has_a_summary(telemetry, recorder):
    for index, accuracy in enumerate((60.0, None)):
        last = report(
            val_accuracy=accuracy,
            events=(GERMINATED,),
            fossil_parameters=100 * index,
            ended=EpisodeEnd.HORIZON,
            seconds={"train": 0.5},
        )
        recorder.step(index, report(), choice(Op.GERMINATE, 1), last, reward(terminal=1.0 + index))
    summary = recorder.finish()
    assert (summary.round, summary.episodes) == (4, 2)
    assert summary.mean_return == pytest.approx(1.5)
    assert (summary.mean_accuracy, summary.best_accuracy) == (60.0, 60.0)
    assert summary.ops == {op.name: 2 * (op is Op.GERMINATE) for op in Op}
    assert (summary.germinated, summary.grown_parameters, summary.rollbacks) == (2, 50.0, 0)
    assert [event.kind for event in telemetry.events[-2:]] == [
        "round_completed",
        "throughput",
    ]
    assert telemetry.of("throughput")[0].seconds["host.train"] == pytest.approx(1.0)
