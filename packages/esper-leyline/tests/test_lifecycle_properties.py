"""Properties of the lifecycle over random commands, ticks, evidence and rules."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import (
    Advance,
    AlphaCurve,
    AlphaMode,
    BlendStyle,
    Blueprint,
    Fossilize,
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
from esper_leyline.actions import ALPHA_SPEED_TICKS, ALPHA_TARGETS, TEMPO_EPOCHS
from esper_leyline.lifecycle.machine import Effect, permitted_ops
from esper_leyline.lifecycle.stages import TRANSITIONS

PLAN = settings(max_examples=40, deadline=None)
BLUEPRINTS = [blueprint for blueprint in Blueprint if blueprint != Blueprint.NOOP]
COMMANDS = {
    Op.GERMINATE: [
        Germinate(blueprint=blueprint, style=style, tempo=tempo, alpha_target=target)
        for blueprint, style, tempo, target in itertools.product(
            BLUEPRINTS, BlendStyle, TEMPO_EPOCHS, ALPHA_TARGETS
        )
    ],
    Op.SET_ALPHA_TARGET: [
        SetAlphaTarget(style=style, alpha_target=target, ticks=ticks, curve=curve)
        for style, target, ticks, curve in itertools.product(
            BlendStyle, ALPHA_TARGETS, ALPHA_SPEED_TICKS, AlphaCurve
        )
    ],
    Op.PRUNE: [
        Prune(ticks=ticks, curve=curve)
        for ticks, curve in itertools.product(ALPHA_SPEED_TICKS, AlphaCurve)
    ],
    Op.FOSSILIZE: [Fossilize()],
    Op.ADVANCE: [Advance()],
}
GOOD = SeedEvidence(
    gradient_ratio=1.0,
    gradients_finite=True,
    gradients_exploding=False,
    stage_improvement=5.0,
    contribution=2.0,
    healthy=True,
)

rules_in_use = st.builds(
    LifecycleRules,
    permissive_gates=st.booleans(),
    auto_forward_g1=st.booleans(),
    auto_forward_g2=st.booleans(),
    auto_forward_g3=st.booleans(),
    min_prune_age=st.integers(0, 6),
    embargo_ticks=st.integers(1, 6),
    g2_min_epochs=st.integers(1, 4),
    g3_min_epochs=st.integers(1, 4),
)
evidence_seen = st.just(GOOD) | st.builds(
    SeedEvidence,
    gradient_ratio=st.none() | st.floats(0, 2),
    gradients_finite=st.none() | st.booleans(),
    gradients_exploding=st.none() | st.booleans(),
    stage_improvement=st.none() | st.floats(-5, 5),
    contribution=st.none() | st.floats(allow_infinity=True, allow_nan=True),
    healthy=st.none() | st.booleans(),
)


@st.composite
def walks(draw):
    """Draws rules, then (before, input, evidence, transition) of each step of a walk.

    Half of the inputs are ones that the lifecycle says it accepts, so that walks get far.
    """
    rules = draw(rules_in_use)
    generator = draw(st.randoms(use_true_random=False))
    state, steps = SeedState(), []
    for _ in range(draw(st.integers(1, 60))):
        evidence = draw(evidence_seen)
        event = _choose(generator, state, evidence, rules)
        transition = advance(state, event, evidence=evidence, rules=rules)
        steps.append((state, event, evidence, transition))
        state = transition.state
    return rules, steps


def _choose(generator, state, evidence, rules):
    if generator.random() < 0.5:
        return Tick()
    ops = list(COMMANDS)
    if generator.random() < 0.7:
        # Pruning stays possible but rarer, or few walks would get past TRAINING.
        permitted = sorted(permitted_ops(state, evidence, rules))
        ops = [op for op in permitted if op is not Op.PRUNE or generator.random() < 0.2] or ops
    return generator.choice(COMMANDS[generator.choice(ops)])


@PLAN
@given(walks())
def test_only_legal_transitions_happen(walk):
    for before, _, _, transition in walk[1]:
        path = [before.stage, *transition.stages]
        for source, target in itertools.pairwise(path):
            assert target in TRANSITIONS[source]
        assert transition.state.stage is path[-1]


@PLAN
@given(walks())
def test_a_rejected_input_changes_nothing_and_gives_the_reason(walk):
    for before, event, _, transition in walk[1]:
        if transition.accepted:
            continue
        assert not isinstance(event, Tick)
        assert transition.state is before
        assert transition.stages == ()
        assert transition.effects == ()
        assert transition.rejection


@PLAN
@given(walks())
def test_alpha_stays_between_zero_and_one(walk):
    for _, _, _, transition in walk[1]:
        assert 0.0 <= transition.state.alpha <= 1.0


@PLAN
@given(walks())
def test_a_ramp_starts_at_alpha_and_ends_exactly_at_its_target(walk):
    for before, _, _, transition in walk[1]:
        ramp = transition.state.ramp
        if ramp is None:
            continue
        if ramp.done == 0 and ramp is not before.ramp:
            assert ramp.start == before.alpha
        if transition.state.alpha_mode is AlphaMode.HOLD:
            assert transition.state.alpha == ramp.target


@PLAN
@given(walks())
def test_effects_go_with_the_stages_entered(walk):
    for before, _, _, transition in walk[1]:
        entered, effects = transition.stages, transition.effects
        assert (Effect.CREATE_MODULE in effects) == (SeedStage.GERMINATED in entered)
        assert (Effect.REMOVE_MODULE in effects) == (SeedStage.PRUNED in entered)
        assert (Effect.FOSSILIZE_MODULE in effects) == (SeedStage.FOSSILIZED in entered)
        froze = transition.state.pruning and not before.pruning
        assert (Effect.FREEZE_PARAMETERS in effects) == froze


@PLAN
@given(walks())
def test_fossilized_is_terminal_at_full_amplitude(walk):
    for before, event, _, transition in walk[1]:
        if before.stage is not SeedStage.FOSSILIZED:
            continue
        assert transition.accepted == isinstance(event, Tick)
        assert transition.state.stage is SeedStage.FOSSILIZED
        assert transition.state.alpha == 1.0


@PLAN
@given(walks())
def test_no_state_of_one_seed_is_left_for_the_next(walk):
    for _, event, _, transition in walk[1]:
        state = transition.state
        if SeedStage.GERMINATED in transition.stages:
            assert state == SeedState(
                stage=SeedStage.GERMINATED,
                blueprint=event.blueprint,
                style=event.style,
                tempo=event.tempo,
                blend_target=event.alpha_target,
            )
        elif state.blueprint is None:
            assert state == SeedState(stage=state.stage, epochs_in_stage=state.epochs_in_stage)


@PLAN
@given(walks())
def test_ages_count_ticks(walk):
    for before, event, _, transition in walk[1]:
        state = transition.state
        if isinstance(event, Tick):
            in_life = before.blueprint is not None and state.blueprint is not None
            assert state.age == (before.age + 1 if in_life else 0)
        if transition.stages:
            assert state.epochs_in_stage == 0
        elif isinstance(event, Tick) and state.stage is not SeedStage.DORMANT:
            assert state.epochs_in_stage == before.epochs_in_stage + 1


@PLAN
@given(walks())
def test_a_seed_being_pruned_only_ramps_down_and_is_always_removed(walk):
    for before, _, evidence, transition in walk[1]:
        if not before.pruning:
            continue
        assert transition.state.alpha <= before.alpha
        assert permitted_ops(before, evidence, walk[0]) == frozenset()
        assert transition.state.pruning or transition.state.stage is SeedStage.PRUNED


@PLAN
@given(walks())
def test_permitted_ops_are_those_that_advance_accepts_with_any_head_values(walk):
    rules, steps = walk
    before, _, evidence, _ = steps[-1]
    permitted = permitted_ops(before, evidence, rules)
    for op, commands in COMMANDS.items():
        for command in commands:
            accepted = advance(before, command, evidence=evidence, rules=rules).accepted
            assert accepted == (op in permitted)


def test_random_walks_reach_every_stage():
    generator, state = random.Random(0), SeedState()
    rules, seen = LifecycleRules(min_prune_age=0), {SeedStage.UNKNOWN}
    for _ in range(3_000):
        event = _choose(generator, state, GOOD, rules)
        state = advance(state, event, evidence=GOOD, rules=rules).state
        seen.add(state.stage)
        if state.stage is SeedStage.FOSSILIZED:
            state = SeedState()
    assert seen == set(SeedStage)
