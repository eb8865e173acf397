from __future__ import annotations

from dataclasses import replace

import pytest

from esper_leyline import (
    AlphaMode,
    BlendStyle,
    Blueprint,
    EpisodeEnd,
    FactoredAction,
    LifecycleRules,
    Op,
    SeedEvidence,
    SeedReport,
    SeedStage,
    StepReport,
    Topology,
)
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS
from esper_tamiyo import HeuristicConfig, HeuristicController

FLAT = ((1.5, 50.0),) * 5
LEARNING = ((2.3, 10.0), (2.0, 20.0), (1.7, 30.0), (1.4, 40.0), (1.1, 50.0))


def report(spec, *, epoch=6, history=FLAT, seeds=None, ended=None):
    dormant = tuple(SeedReport(slot=slot, permitted=(Op.GERMINATE,)) for slot in spec.slots)
    return StepReport(
        environment=0,
        rng_seed=0,
        epoch=epoch,
        max_epochs=spec.max_epochs,
        seeds=dormant if seeds is None else seeds,
        host_parameters=900,
        history=history,
        ended=ended,
    )


def lone(spec, **fields):
    """A report in which the second slot is as given and the others are dormant."""
    seed = SeedReport(
        slot=spec.slots[1],
        **{
            "blueprint": Blueprint.NORM,
            "style": BlendStyle.LINEAR_ADD,
            "epochs_in_stage": 1,
            "age": 8,
            **fields,
        },
    )
    plain = report(spec).seeds
    return report(spec, seeds=(plain[0], seed, *plain[2:]))


@pytest.fixture
def long(specs):
    return specs(max_epochs=150)


def test_waits_while_the_host_learns(long):
    controller = HeuristicController(long)
    assert controller.decide(report(long, history=LEARNING)).op is Op.WAIT


def test_waits_for_a_whole_window(long):
    controller = HeuristicController(long)
    assert controller.decide(report(long, epoch=3, history=FLAT[:3])).op is Op.WAIT
    assert controller.decide(report(long, epoch=4, history=FLAT[:4])).op is Op.GERMINATE


def test_germinates_on_a_plateau(long):
    action = HeuristicController(long).decide(report(long))
    assert action == FactoredAction(
        op=Op.GERMINATE, slot=0, blueprint=long.blueprints[0], tempo=2, alpha_target=2
    )


def test_waits_while_accuracy_rises(long):
    gaining = tuple((1.5, 50.0 + epoch) for epoch in range(5))
    assert HeuristicController(long).decide(report(long, history=gaining)).op is Op.WAIT


@pytest.mark.parametrize(("fall", "settled"), [(0.04, False), (0.02, True), (-0.06, False)])
def test_stability_is_a_band_of_relative_change(long, fall, settled):
    history = tuple((1.5 * (1 - fall) ** epoch, 50.0) for epoch in range(5))
    action = HeuristicController(long).decide(report(long, history=history))
    assert (action.op is Op.GERMINATE) == settled


def test_a_loss_that_is_not_a_number_is_not_stable(long):
    history = ((float("nan"), 50.0),) * 5
    assert HeuristicController(long).decide(report(long, history=history)).op is Op.WAIT


def test_a_host_that_never_settles_grows_at_the_deadline(specs):
    spec = specs(max_epochs=20)
    controller = HeuristicController(spec)
    assert controller.decide(report(spec, epoch=4, history=LEARNING)).op is Op.WAIT
    assert controller.decide(report(spec, epoch=5, history=LEARNING)).op is Op.GERMINATE


def test_starts_no_seed_that_could_not_finish(specs):
    spec = specs(max_epochs=20)
    assert HeuristicController(spec).decide(report(spec, epoch=13)).op is Op.GERMINATE
    assert HeuristicController(spec).decide(report(spec, epoch=14)).op is Op.WAIT


def test_one_seed_at_a_time(long):
    training = {"stage": SeedStage.TRAINING, "permitted": ()}
    assert HeuristicController(long).decide(lone(long, **training)).op is Op.WAIT
    several = HeuristicController(long, HeuristicConfig(max_live=2, deadline_share=0.0))
    several.decide(report(long, epoch=2))
    later = replace(lone(long, **training), epoch=9)
    assert several.decide(later).op is Op.WAIT


@pytest.mark.parametrize("stage", [SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING])
def test_advances_as_soon_as_it_may(long, stage):
    seen = lone(long, stage=stage, permitted=(Op.ADVANCE, Op.PRUNE))
    assert HeuristicController(long).decide(seen) == FactoredAction(op=Op.ADVANCE, slot=1)


HOLDING = {
    "stage": SeedStage.HOLDING,
    "permitted": (Op.PRUNE, Op.FOSSILIZE, Op.SET_ALPHA_TARGET),
    "alpha": 1.0,
    "counterfactual_age": 0,
}


@pytest.mark.parametrize(
    ("contribution", "op"),
    [(2.0, Op.FOSSILIZE), (0.5, Op.PRUNE), (0.0, Op.PRUNE), (-3.0, Op.PRUNE), (None, Op.WAIT)],
)
def test_a_holding_seed_is_judged_by_its_contribution(long, contribution, op):
    seen = lone(long, **HOLDING, contribution=contribution)
    expected = FactoredAction() if op is Op.WAIT else FactoredAction(op=op, slot=1)
    assert HeuristicController(long).decide(seen) == expected


def test_a_contribution_from_before_the_stage_does_not_count(long):
    seen = lone(long, **{**HOLDING, "counterfactual_age": 1}, contribution=9.0)
    assert HeuristicController(long).decide(seen).op is Op.WAIT


def test_prunes_a_seed_that_cannot_fossilize_after_its_patience(long):
    seen = {**HOLDING, "permitted": (Op.PRUNE,), "contribution": 0.8}
    assert HeuristicController(long).decide(lone(long, **seen)).op is Op.WAIT
    seen["epochs_in_stage"] = 5
    assert HeuristicController(long).decide(lone(long, **seen)).op is Op.PRUNE


@pytest.mark.parametrize(
    ("improvement", "epochs", "pruned"),
    [(-2.5, 5, True), (-2.5, 4, False), (-1.5, 9, False), (None, 9, False)],
)
def test_prunes_a_seed_in_whose_stage_accuracy_fell(long, improvement, epochs, pruned):
    seen = lone(
        long,
        stage=SeedStage.BLENDING,
        permitted=(Op.PRUNE,),
        stage_improvement=improvement,
        epochs_in_stage=epochs,
        alpha_mode=AlphaMode.UP,
    )
    assert (HeuristicController(long).decide(seen).op is Op.PRUNE) == pruned


@pytest.mark.parametrize(("contribution", "pruned"), [(19.7, False), (0.4, True), (None, True)])
def test_keeps_a_seed_with_a_positive_contribution_when_accuracy_fell(long, contribution, pruned):
    seen = lone(
        long,
        stage=SeedStage.BLENDING,
        permitted=(Op.PRUNE,),
        stage_improvement=-7.2,
        epochs_in_stage=5,
        contribution=contribution,
        counterfactual_age=None if contribution is None else 0,
        alpha_mode=AlphaMode.UP,
    )
    assert (HeuristicController(long).decide(seen).op is Op.PRUNE) == pruned


def test_raises_an_alpha_too_low_for_its_gate(long):
    seen = lone(
        long,
        stage=SeedStage.BLENDING,
        permitted=(Op.SET_ALPHA_TARGET,),
        alpha=0.5,
        style=BlendStyle.SIGMOID_ADD,
    )
    assert HeuristicController(long).decide(seen) == FactoredAction(
        op=Op.SET_ALPHA_TARGET, slot=1, style=BlendStyle.SIGMOID_ADD, alpha_target=2
    )


def test_committing_comes_before_pruning_and_advancing(long):
    base = report(long).seeds
    good = SeedReport(
        slot=long.slots[2], blueprint=Blueprint.NORM, epochs_in_stage=1, **HOLDING, contribution=2.0
    )
    moving = replace(base[0], stage=SeedStage.TRAINING, permitted=(Op.ADVANCE,))
    seen = report(long, seeds=(moving, base[1], good))
    assert HeuristicController(long).decide(seen) == FactoredAction(op=Op.FOSSILIZE, slot=2)


def test_waits_after_the_end_of_an_episode(long):
    seen = report(long, ended=EpisodeEnd.GOVERNOR)
    assert HeuristicController(long).decide(seen) == FactoredAction()


def test_blueprints_rotate_and_failures_move_back(long):
    controller = HeuristicController(long, HeuristicConfig(penalty_decay=1.0))

    def next_blueprint():
        return controller.decide(report(long)).blueprint

    assert next_blueprint() is long.blueprints[0]
    failed = long.blueprints[1]
    controller.decide(lone(long, **HOLDING, contribution=-1.0, blueprint=failed))
    controller._grown_until = 0
    turn = [next_blueprint() for _ in long.blueprints]
    assert turn[0] is long.blueprints[2]
    assert set(turn) == set(long.blueprints) - {failed}


def test_a_penalty_decays(long):
    controller = HeuristicController(long, HeuristicConfig(penalty_decay=0.5))
    failed = long.blueprints[0]
    controller.decide(lone(long, **HOLDING, contribution=-1.0, blueprint=failed))
    for _ in range(4):
        controller.decide(report(long, epoch=7, history=LEARNING))
    assert controller.decide(report(long, epoch=60)).blueprint is failed


def test_reset_clears_the_state(long):
    controller = HeuristicController(long)
    first = [controller.decide(report(long)) for _ in range(3)]
    controller.reset(9)
    assert [controller.decide(report(long)) for _ in range(3)] == first


GOOD = {
    Topology.CNN: Blueprint.ATTENTION,
    Topology.TRANSFORMER: Blueprint.NORM,
    Topology.MLP: Blueprint.LORA,
}


def episode(gardens, spec, **settings):
    """Lives one episode; returns the actions taken and the garden."""
    garden, controller = gardens(spec, **settings), HeuristicController(spec)
    actions, seen = [], garden.report()
    while seen.ended is None:
        actions.append(controller.decide(seen))
        seen = garden.step(actions[-1])
        assert seen.action_succeeded
    return actions, garden


@pytest.mark.parametrize("topology", Topology)
@pytest.mark.parametrize("slots", [1, 3])
def test_fossilizes_what_helps_and_prunes_what_does_not(specs, gardens, topology, slots):
    spec = specs(slots, max_epochs=100, topology=topology)
    good = GOOD[topology]
    actions, garden = episode(
        gardens, spec, contribution=lambda _, blueprint: 3.0 if blueprint is good else -1.0
    )
    ops = {action.op for action in actions}
    assert ops >= {Op.GERMINATE, Op.ADVANCE, Op.PRUNE, Op.FOSSILIZE}
    fossils = [s.blueprint for s in garden.states if s.stage is SeedStage.FOSSILIZED]
    assert fossils
    assert set(fossils) == {good}
    assert next(a.blueprint for a in actions if a.op is Op.GERMINATE) is spec.blueprints[0]
    assert TOPOLOGY_BLUEPRINTS[topology][0] is not good or topology is Topology.TRANSFORMER


@pytest.mark.parametrize("max_epochs", [10, 20, 40, 150])
def test_short_episodes_grow_too(specs, gardens, max_epochs):
    spec = specs(max_epochs=max_epochs)
    noisy = {
        "loss": lambda epoch: 2.0 - 0.05 * epoch if epoch < 19 else 1.0 + 0.1 * (epoch % 2),
        "accuracy": lambda epoch: min(80.0, 20.0 + 3.0 * epoch),
    }
    _, garden = episode(gardens, spec, **noisy)
    assert any(state.stage is SeedStage.FOSSILIZED for state in garden.states)


@pytest.mark.parametrize("gates", ["automatic", "strict"])
def test_the_heuristic_grows_under_other_rules_of_the_lifecycle(specs, gardens, gates):
    spec = specs(max_epochs=150)
    rules = {
        "automatic": LifecycleRules(
            auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True
        ),
        "strict": LifecycleRules(permissive_gates=False),
    }[gates]
    _, garden = episode(gardens, spec, rules=rules, contribution=lambda *_: 2.0)
    assert all(state.stage is SeedStage.FOSSILIZED for state in garden.states)


def test_the_simulated_host_counts_contributions_from_the_first_epoch_of_a_stage(specs, gardens):
    """What the tests above rest on: a contribution counts from the first epoch in a stage."""
    garden = gardens(specs(1))
    garden.step(FactoredAction(op=Op.GERMINATE, blueprint=Blueprint.NORM, alpha_target=2))
    assert garden.evidence(0) == SeedEvidence()
    garden.step(FactoredAction(op=Op.ADVANCE))
    assert garden.evidence(0).contribution == 1.0


@pytest.mark.parametrize(
    ("epoch", "history", "words"),
    [
        (6, LEARNING, "the loss has not been stable yet"),
        (6, FLAT, "no epoch of the last 3 gained 0.5 points of accuracy"),
        (40, LEARNING, "nothing has grown for 40 epochs"),
        (149, FLAT, "epochs, and 1 are left"),
    ],
)
def test_says_why_it_grows_or_waits(long, epoch, history, words):
    controller = HeuristicController(long)
    controller.decide(report(long, epoch=epoch, history=history))
    assert words in controller.reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**HOLDING, "contribution": 2.0}, "the seed adds 2.0 points, more than 0.5"),
        ({**HOLDING, "contribution": 0.1}, "the seed adds 0.1 points, no more than 0.5"),
        (
            {**HOLDING, "permitted": (Op.PRUNE,), "contribution": 0.8, "epochs_in_stage": 5},
            "held for 5 epochs without being measured or permitted to stay",
        ),
        (
            {
                "stage": SeedStage.TRAINING,
                "permitted": (Op.PRUNE,),
                "stage_improvement": -2.5,
                "epochs_in_stage": 5,
            },
            "the 5 epochs of this stage, and what the seed adds was not measured",
        ),
        (
            {"stage": SeedStage.TRAINING, "permitted": (Op.ADVANCE,)},
            "the gate after TRAINING lets the seed move on",
        ),
        (
            {
                "stage": SeedStage.BLENDING,
                "permitted": (Op.SET_ALPHA_TARGET,),
                "alpha": 0.5,
                "style": BlendStyle.SIGMOID_ADD,
            },
            "the blend ended at alpha 0.50, and its gate needs 1",
        ),
        ({"stage": SeedStage.TRAINING, "permitted": ()}, "1 of 1 seeds are growing already"),
    ],
)
def test_says_why_it_acts_on_a_seed(long, fields, words):
    controller = HeuristicController(long)
    controller.decide(lone(long, **fields))
    assert words in controller.reason
