"""The lifecycle as a pure function: from a state and an input to a state and effects.

Kasmina performs the effects on real modules; nothing here knows about tensors, so
the whole lifecycle can be explored by property tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from esper_leyline.actions import (
    BlendStyle,
    Blueprint,
    BlueprintName,
    Op,
)
from esper_leyline.commands import (
    Advance,
    Fossilize,
    Germinate,
    LifecycleInput,
    Prune,
    SetAlphaTarget,
    SlotCommand,
    Tick,
)
from esper_leyline.lifecycle.alpha import AlphaRamp
from esper_leyline.lifecycle.gates import (
    Gate,
    GateResult,
    LifecycleRules,
    SeedEvidence,
    gate_checks,
)
from esper_leyline.lifecycle.stages import LIVE_STAGES, TRANSITIONS, SeedStage
from esper_leyline.wire import WIRE_CONFIG, Float

GATE_OF_STAGE: dict[SeedStage, tuple[Gate, SeedStage]] = {
    SeedStage.GERMINATED: (Gate.G1, SeedStage.TRAINING),
    SeedStage.TRAINING: (Gate.G2, SeedStage.BLENDING),
    SeedStage.BLENDING: (Gate.G3, SeedStage.HOLDING),
    SeedStage.HOLDING: (Gate.G5, SeedStage.FOSSILIZED),
}
"""The gate that ends a stage, and the stage that follows."""


class AlphaMode(StrEnum):
    """What alpha is doing."""

    HOLD = "hold"
    UP = "up"
    DOWN = "down"


class Effect(StrEnum):
    """What the owner of the modules has to do after a step of the lifecycle."""

    CREATE_MODULE = "create_module"
    SET_BLEND = "set_blend"
    FREEZE_PARAMETERS = "freeze_parameters"
    REMOVE_MODULE = "remove_module"
    FOSSILIZE_MODULE = "fossilize_module"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedState:
    """The state of one slot.

    Attributes:
        tempo: Epochs of the first blend, ``None`` where there is no seed.
        blend_target: Where the first blend ends.
        ramp: The present or last ramp of alpha; ``None`` before the first.
        pruning: Whether a commanded prune is ramping alpha down.
        epochs_in_stage: Ticks since the stage was entered.
        age: Ticks since germination.
    """

    __pydantic_config__ = WIRE_CONFIG

    stage: SeedStage = SeedStage.DORMANT
    blueprint: BlueprintName | None = None
    style: BlendStyle | None = None
    tempo: int | None = None
    blend_target: Float | None = None
    ramp: AlphaRamp | None = None
    pruning: bool = False
    epochs_in_stage: int = 0
    age: int = 0

    @property
    def alpha(self) -> float:
        """How strongly the seed is blended in, between 0 and 1."""
        return 0.0 if self.ramp is None else self.ramp.alpha

    @property
    def alpha_mode(self) -> AlphaMode:
        """Whether alpha is moving, and which way."""
        if self.ramp is None or self.ramp.arrived:
            return AlphaMode.HOLD
        return AlphaMode.UP if self.ramp.target > self.ramp.start else AlphaMode.DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of the lifecycle.

    Attributes:
        state: The state afterwards; the one before when the input was rejected.
        stages: The stages entered, in order.
        effects: What to do to the modules, in order.
        gates: The gates evaluated on the way.
        rejection: Why the input was refused, or ``None``.
    """

    state: SeedState
    stages: tuple[SeedStage, ...] = ()
    effects: tuple[Effect, ...] = ()
    gates: tuple[GateResult, ...] = ()
    rejection: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the input was carried out."""
        return self.rejection is None


def advance(
    state: SeedState,
    event: LifecycleInput,
    *,
    evidence: SeedEvidence,
    rules: LifecycleRules,
) -> Transition:
    """Returns what one tick or command makes of a seed; never raises for a refused one."""
    impossible = _impossible_number(event)
    if impossible is not None:
        return _rejected(state, impossible)
    return _carried_out(state, event, evidence, rules)


def _carried_out(
    state: SeedState, event: LifecycleInput, evidence: SeedEvidence, rules: LifecycleRules
) -> Transition:
    match event:
        case Tick():
            return _tick(state, evidence, rules)
        case Germinate():
            return _germinate(state, event)
        case Advance():
            return _advance(state, evidence, rules)
        case SetAlphaTarget():
            return _retarget(state, event)
        case Prune():
            return _prune(state, event, rules)
        case Fossilize():
            return _fossilize(state, evidence, rules)


def _impossible_number(event: LifecycleInput) -> str | None:
    """Returns what is wrong with a command's numbers, ``None`` if nothing is."""
    if isinstance(event, Germinate | SetAlphaTarget):
        target = event.alpha_target
        if not isinstance(target, int | float) or not 0.0 <= target <= 1.0:
            return f"alpha_target is {target!r}; give a number between 0 and 1"
    for name in ("tempo", "ticks"):
        ticks = getattr(event, name, 0)
        if not isinstance(ticks, int) or ticks < 0:
            return f"{name} is {ticks!r}; give a whole number from 0"
    return None


def evaluate_gate(
    state: SeedState, evidence: SeedEvidence, rules: LifecycleRules
) -> GateResult | None:
    """Evaluates the gate that ends the seed's stage; ``None`` if the stage has none."""
    exit_gate = GATE_OF_STAGE.get(state.stage)
    if exit_gate is None:
        return None
    return gate_checks(
        exit_gate[0],
        epochs_in_stage=state.epochs_in_stage,
        ramp_arrived=state.ramp is not None and state.ramp.arrived,
        alpha=state.alpha,
        evidence=evidence,
        rules=rules,
    )


def permitted_ops(state: SeedState, evidence: SeedEvidence, rules: LifecycleRules) -> frozenset[Op]:
    """Returns the ops that the lifecycle would accept for this slot now, WAIT apart."""
    trials: dict[Op, SlotCommand] = {
        Op.GERMINATE: Germinate(blueprint=Blueprint.NORM),
        Op.SET_ALPHA_TARGET: SetAlphaTarget(style=BlendStyle.LINEAR_ADD, alpha_target=1.0, ticks=0),
        Op.PRUNE: Prune(),
        Op.FOSSILIZE: Fossilize(),
        Op.ADVANCE: Advance(),
    }
    return frozenset(
        op
        for op, command in trials.items()
        if advance(state, command, evidence=evidence, rules=rules).accepted
    )


def _germinate(state: SeedState, command: Germinate) -> Transition:
    if state.stage is not SeedStage.DORMANT:
        return _rejected(state, f"only a DORMANT slot germinates; this one is {state.stage.name}")
    if command.blueprint == Blueprint.NOOP:
        return _rejected(state, "blueprint 'noop' builds no module; choose another one")
    germinated = SeedState(
        stage=SeedStage.GERMINATED,
        blueprint=command.blueprint,
        style=command.style,
        tempo=command.tempo,
        blend_target=command.alpha_target,
    )
    return Transition(state=germinated, stages=(germinated.stage,), effects=(Effect.CREATE_MODULE,))


def _advance(state: SeedState, evidence: SeedEvidence, rules: LifecycleRules) -> Transition:
    if state.pruning:
        return _rejected(state, "the seed is being pruned")
    if state.stage is SeedStage.HOLDING:
        return _rejected(state, "a HOLDING seed is fossilized or pruned, not advanced")
    result = evaluate_gate(state, evidence, rules)
    if result is None:
        return _rejected(state, f"no gate leads out of {state.stage.name}")
    if not result.passed:
        failed = ", ".join(result.failed_checks)
        return _rejected(state, f"gate {result.gate.value} failed: {failed}", result)
    entered = _enter_next(state)
    return Transition(state=entered, stages=(entered.stage,), gates=(result,))


def _enter_next(state: SeedState) -> SeedState:
    entered = _enter(state, GATE_OF_STAGE[state.stage][1])
    if entered.stage is SeedStage.BLENDING:
        assert state.tempo is not None
        assert state.blend_target is not None
        assert state.style is not None
        ramp = AlphaRamp(
            start=0.0, target=state.blend_target, steps=state.tempo, curve=state.style.curve
        )
        return replace(entered, ramp=ramp)
    return entered


def _retarget(state: SeedState, command: SetAlphaTarget) -> Transition:
    if state.pruning:
        return _rejected(state, "the seed is being pruned")
    if state.stage not in (SeedStage.BLENDING, SeedStage.HOLDING):
        return _rejected(state, f"alpha has no target in {state.stage.name}")
    if state.alpha_mode is not AlphaMode.HOLD:
        return _rejected(state, "alpha is still moving; retarget it once it holds")
    # A ramp to the present alpha has nothing to do and must not delay the next gate.
    ticks = 0 if command.alpha_target == state.alpha else command.ticks
    ramp = AlphaRamp(
        start=state.alpha, target=command.alpha_target, steps=ticks, curve=command.curve
    )
    effects = (Effect.SET_BLEND,) if command.style is not state.style else ()
    changed = replace(state, style=command.style, ramp=ramp)
    if state.stage is SeedStage.HOLDING and command.alpha_target < 1.0:
        lowered = _enter(changed, SeedStage.BLENDING)
        return Transition(state=lowered, stages=(lowered.stage,), effects=effects)
    return Transition(state=changed, effects=effects)


def _prune(state: SeedState, command: Prune, rules: LifecycleRules) -> Transition:
    if state.pruning:
        return _rejected(state, "the seed is already being pruned")
    if state.stage not in LIVE_STAGES:
        return _rejected(state, f"there is no live seed to prune in {state.stage.name}")
    if state.age < rules.min_prune_age:
        return _rejected(
            state, f"pruned from age {rules.min_prune_age}; this seed's is {state.age}"
        )
    if command.ticks == 0 or state.alpha == 0.0:
        return _removed()
    ramp = AlphaRamp(start=state.alpha, target=0.0, steps=command.ticks, curve=command.curve)
    return Transition(
        state=replace(state, ramp=ramp, pruning=True), effects=(Effect.FREEZE_PARAMETERS,)
    )


def _fossilize(state: SeedState, evidence: SeedEvidence, rules: LifecycleRules) -> Transition:
    if state.stage is not SeedStage.HOLDING:
        return _rejected(state, f"only a HOLDING seed fossilizes; this one is {state.stage.name}")
    if state.pruning:
        return _rejected(state, "the seed is being pruned")
    if state.alpha_mode is not AlphaMode.HOLD:
        return _rejected(state, "alpha is still moving")
    result = evaluate_gate(state, evidence, rules)
    assert result is not None
    if not result.passed:
        failed = ", ".join(result.failed_checks)
        return _rejected(state, f"gate {result.gate.value} failed: {failed}", result)
    fossilized = _enter(state, SeedStage.FOSSILIZED)
    return Transition(
        state=fossilized,
        stages=(fossilized.stage,),
        effects=(Effect.FOSSILIZE_MODULE,),
        gates=(result,),
    )


def _tick(state: SeedState, evidence: SeedEvidence, rules: LifecycleRules) -> Transition:
    if state.stage is SeedStage.DORMANT:
        return Transition(state=state)
    aged = replace(
        state,
        epochs_in_stage=state.epochs_in_stage + 1,
        age=state.age + 1 if state.blueprint is not None else state.age,
        ramp=None if state.ramp is None else state.ramp.stepped(),
    )
    if aged.pruning and aged.ramp is not None and aged.ramp.arrived:
        return _removed()
    if aged.stage in _CLEARING:
        return _clear(aged, rules)
    return _auto_forward(aged, evidence, rules)


_CLEARING = {
    SeedStage.PRUNED: SeedStage.EMBARGOED,
    SeedStage.EMBARGOED: SeedStage.RESETTING,
    SeedStage.RESETTING: SeedStage.DORMANT,
}


def _clear(state: SeedState, rules: LifecycleRules) -> Transition:
    if state.stage is SeedStage.EMBARGOED and state.epochs_in_stage < rules.embargo_ticks:
        return Transition(state=state)
    entered = _enter(state, _CLEARING[state.stage])
    return Transition(state=entered, stages=(entered.stage,))


def _auto_forward(state: SeedState, evidence: SeedEvidence, rules: LifecycleRules) -> Transition:
    automatic = {
        SeedStage.GERMINATED: rules.auto_forward_g1,
        SeedStage.TRAINING: rules.auto_forward_g2,
        SeedStage.BLENDING: rules.auto_forward_g3,
    }
    if state.pruning or not automatic.get(state.stage, False):
        return Transition(state=state)
    result = evaluate_gate(state, evidence, rules)
    assert result is not None
    if not result.passed:
        return Transition(state=state, gates=(result,))
    entered = _enter_next(state)
    return Transition(state=entered, stages=(entered.stage,), gates=(result,))


def _removed() -> Transition:
    return Transition(
        state=SeedState(stage=SeedStage.PRUNED),
        stages=(SeedStage.PRUNED,),
        effects=(Effect.REMOVE_MODULE,),
    )


def _enter(state: SeedState, stage: SeedStage) -> SeedState:
    assert stage in TRANSITIONS[state.stage], f"{state.stage.name} cannot become {stage.name}"
    return replace(state, stage=stage, epochs_in_stage=0)


def _rejected(state: SeedState, reason: str, gate: GateResult | None = None) -> Transition:
    return Transition(state=state, rejection=reason, gates=() if gate is None else (gate,))
