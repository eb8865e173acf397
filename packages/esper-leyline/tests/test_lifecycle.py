"""The lifecycle's paths step by step: growing, holding, pruning, and the way back."""

from __future__ import annotations

import pytest

from esper_leyline import (
    Advance,
    AlphaCurve,
    AlphaMode,
    BlendStyle,
    Blueprint,
    Fossilize,
    Gate,
    Germinate,
    LifecycleRules,
    Op,
    Prune,
    SeedEvidence,
    SeedStage,
    SeedState,
    SetAlphaTarget,
    Tick,
    advance,
)
from esper_leyline.actions import ALPHA_SPEED_TICKS, TEMPO_EPOCHS
from esper_leyline.lifecycle.machine import Effect, permitted_ops

RULES = LifecycleRules()
GOOD = SeedEvidence(
    gradients_finite=True, gradients_exploding=False, contribution=-3.0, healthy=True
)


def run(state, *events, evidence=GOOD, rules=RULES):
    """Applies inputs that must all be accepted and returns the last transition."""
    for event in events:
        transition = advance(state, event, evidence=evidence, rules=rules)
        assert transition.accepted, transition.rejection
        state = transition.state
    return transition


def blending(*, tempo=3, target=1.0, style=BlendStyle.LINEAR_ADD, rules=RULES):
    seed = Germinate(blueprint=Blueprint.NORM, style=style, tempo=tempo, alpha_target=target)
    return run(SeedState(), seed, Advance(), Tick(), Advance(), rules=rules).state


def holding():
    return run(blending(), *[Tick()] * 3, Advance()).state


@pytest.mark.parametrize("tempo", TEMPO_EPOCHS)
@pytest.mark.parametrize("style", BlendStyle)
def test_the_first_blend_takes_tempo_ticks_and_arrives_exactly(tempo, style):
    state, alphas = blending(tempo=tempo, target=0.7, style=style), []
    assert state.alpha == 0.0
    for _ in range(tempo):
        assert state.alpha_mode is AlphaMode.UP
        state = run(state, Tick()).state
        alphas.append(state.alpha)
    assert alphas == sorted(set(alphas))
    assert alphas[-1] == 0.7
    assert state.alpha_mode is AlphaMode.HOLD


def test_a_seed_grows_into_its_host():
    last = run(holding(), Fossilize())
    assert last.stages == (SeedStage.FOSSILIZED,)
    assert last.effects == (Effect.FOSSILIZE_MODULE,)
    assert [gate.gate for gate in last.gates] == [Gate.G5]
    assert last.state.alpha == 1.0


@pytest.mark.parametrize("embargo", [1, 2, 5])
def test_a_pruned_slot_opens_after_exactly_one_embargo(embargo):
    rules = LifecycleRules(min_prune_age=0, embargo_ticks=embargo)
    state = run(blending(rules=rules), Prune(), rules=rules).state
    assert state.stage is SeedStage.PRUNED
    stages = []
    while state.stage is not SeedStage.DORMANT:
        state = run(state, Tick(), rules=rules).state
        stages.append(state.stage)
    assert len(stages) == 1 + embargo + 1
    assert stages.count(SeedStage.EMBARGOED) == embargo
    assert stages[-2:] == [SeedStage.RESETTING, SeedStage.DORMANT]
    assert permitted_ops(state, GOOD, rules) == {Op.GERMINATE}


@pytest.mark.parametrize("ticks", ALPHA_SPEED_TICKS)
@pytest.mark.parametrize("curve", AlphaCurve)
def test_a_prune_ramps_down_frozen_and_ends_in_pruned(ticks, curve):
    rules = LifecycleRules(min_prune_age=0)
    last = run(holding(), Prune(ticks=ticks, curve=curve), rules=rules)
    if ticks:
        assert last.effects == (Effect.FREEZE_PARAMETERS,)
        assert last.state.alpha_mode is AlphaMode.DOWN
    for tick in range(ticks):
        assert last.state.stage is SeedStage.HOLDING, tick
        last = run(last.state, Tick(), rules=rules)
    assert last.stages == (SeedStage.PRUNED,)
    assert last.effects == (Effect.REMOVE_MODULE,)
    assert last.state == SeedState(stage=SeedStage.PRUNED)


@pytest.mark.parametrize(
    "command",
    [
        Advance(),
        Fossilize(),
        Prune(),
        SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.0, ticks=0),
    ],
    ids=lambda command: command.kind,
)
def test_a_seed_being_pruned_takes_no_command(command):
    rules = LifecycleRules(min_prune_age=0)
    going = run(holding(), Prune(ticks=3), rules=rules).state
    refused = advance(going, command, evidence=GOOD, rules=rules)
    assert "being pruned" in refused.rejection
    assert permitted_ops(going, GOOD, rules) == frozenset()


def test_a_seed_at_alpha_zero_is_pruned_immediately_at_any_speed():
    seed = run(SeedState(), Germinate(blueprint=Blueprint.NORM), Advance(), *[Tick()] * 5).state
    assert run(seed, Prune(ticks=8)).stages == (SeedStage.PRUNED,)


@pytest.mark.parametrize("age", [0, 4, 5])
def test_pruning_waits_for_the_minimum_age(age):
    state = run(SeedState(), Germinate(blueprint=Blueprint.NORM), *[Tick()] * age).state
    transition = advance(state, Prune(), evidence=GOOD, rules=RULES)
    assert transition.accepted == (age >= 5)
    if age < 5:
        assert transition.rejection == f"pruned from age 5; this seed's is {age}"


@pytest.mark.parametrize(("target", "stage"), [(0.5, "BLENDING"), (1.0, "HOLDING")])
def test_only_a_retarget_below_full_leaves_holding(target, stage):
    command = SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=target, ticks=3)
    last = run(holding(), command)
    assert last.state.stage is SeedStage[stage]
    assert last.state.alpha == 1.0
    assert last.state.blueprint == Blueprint.NORM


def test_a_retarget_changes_the_blend_only_if_the_style_changes():
    same = SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.0, ticks=0)
    other = SetAlphaTarget(style=BlendStyle.GATED_GATE, alpha_target=1.0, ticks=0)
    assert run(holding(), same).effects == ()
    changed = run(holding(), other)
    assert changed.effects == (Effect.SET_BLEND,)
    assert changed.state.style is BlendStyle.GATED_GATE


def test_alpha_is_retargeted_only_while_it_holds():
    state = run(blending(), Tick()).state
    command = SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=0.5, ticks=0)
    refused = advance(state, command, evidence=GOOD, rules=RULES)
    assert refused.rejection == "alpha is still moving; retarget it once it holds"
    arrived = run(state, Tick(), Tick()).state
    assert run(arrived, command).state.alpha == 0.5


def test_a_half_blended_seed_holds_after_it_was_raised_to_full():
    half = run(blending(target=0.5), *[Tick()] * 3).state
    refused = advance(half, Advance(), evidence=GOOD, rules=RULES)
    assert refused.rejection == "gate g3 failed: full_amplitude"
    raised = run(half, SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.0, ticks=0))
    assert run(raised.state, Advance()).state.stage is SeedStage.HOLDING


def test_auto_forward_passes_the_configured_gates_and_never_fossilizes():
    rules = LifecycleRules(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True)
    state, path = run(SeedState(), Germinate(blueprint=Blueprint.NORM), rules=rules).state, []
    for _ in range(20):
        last = run(state, Tick(), rules=rules)
        path.extend(last.stages)
        state = last.state
    assert path == [SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING]


def test_auto_forward_reports_the_gate_that_did_not_open():
    rules = LifecycleRules(auto_forward_g2=True)
    state = run(SeedState(), Germinate(blueprint=Blueprint.NORM), Advance(), rules=rules).state
    last = run(state, Tick(), evidence=SeedEvidence(), rules=rules)
    assert last.stages == ()
    assert last.gates[0].failed_checks == ("gradients_measured",)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Germinate(blueprint=Blueprint.NOOP), "blueprint 'noop' builds no module; choose"),
        (Advance(), "no gate leads out of DORMANT"),
        (Fossilize(), "only a HOLDING seed fossilizes; this one is DORMANT"),
        (Prune(), "there is no live seed to prune in DORMANT"),
        (
            SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.0, ticks=0),
            "alpha has no target in DORMANT",
        ),
    ],
)
def test_a_rejection_gives_the_reason(command, reason):
    refused = advance(SeedState(), command, evidence=GOOD, rules=RULES)
    assert refused.rejection.startswith(reason)


def test_an_unmeasured_seed_does_not_fossilize():
    unmeasured = SeedEvidence(healthy=True)
    refused = advance(holding(), Fossilize(), evidence=unmeasured, rules=RULES)
    assert refused.rejection == "gate g5 failed: contribution_measured"
    assert Op.FOSSILIZE not in permitted_ops(holding(), unmeasured, RULES)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.5, ticks=0), "alpha_target is"),
        (SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=0.5, ticks=-1), "ticks is -1"),
        (Prune(ticks=-3), "ticks is -3; give a whole number from 0"),
        (Germinate(blueprint=Blueprint.NORM, tempo=-1), "tempo is -1; give a whole number from 0"),
        (
            Germinate(blueprint=Blueprint.NORM, alpha_target=-0.1),
            "alpha_target is -0.1; give a nu",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_numbers_out_of_range_are_rejected_in_every_stage(command, reason):
    for stage in SeedStage:
        state = SeedState(stage=stage)
        result = advance(state, command, evidence=SeedEvidence(), rules=LifecycleRules())
        assert result.rejection is not None
        assert reason in result.rejection
        assert result.state == state
