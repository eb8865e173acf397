"""The panel of one host: its slots, what they went through, and what each adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from esper_karn.state.episode import Episode, Lifeline
from esper_karn.state.run import EnvironmentState, RunState
from esper_karn.state.stamped import Stamped
from esper_karn.views.hosts import HostCard, host_card
from esper_karn.views.levels import why_empty
from esper_karn.views.profile import ProfileView, profile_view, why_unmeasured
from esper_leyline import SeedReport
from esper_leyline.events import CounterfactualMatrix
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """The state of one slot, with stage, ops, blueprint and style by name.

    Attributes:
        permitted: The ops that the lifecycle accepts for it now.
        tempo: Epochs of its first ramp.
        contribution: In points; ``velocity`` is its change, ``age`` how many epochs ago it was
            measured.
        stage_improvement: Accuracy now minus at entry of the stage, in points.
        passed: Checks of its latest gate that passed; likewise ``failed``.
    """

    slot: str
    stage: str
    permitted: tuple[str, ...]
    blueprint: str | None
    style: str | None
    tempo: int | None
    alpha: Float
    alpha_target: Float | None
    alpha_mode: str
    ramp_steps: int
    ramp_done: int
    pruning: bool
    epochs_in_stage: int
    age: int
    parameters: int
    contribution: Float | None
    contribution_velocity: Float | None
    contribution_age: int | None
    interaction_sum: Float | None
    stage_improvement: Float | None
    gradient_norm: Float | None
    gradient_health: Float | None
    gradient_vanishing: bool | None
    gradient_exploding: bool | None
    gate: str | None
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanView:
    """A stay of a slot in one stage, from epoch ``start``, until the next span starts."""

    stage: str
    start: int
    blueprint: str | None
    contribution: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifelineView:
    """What one slot went through.

    Attributes:
        alpha: Epoch and alpha, while it could change.
    """

    slot: str
    spans: tuple[SpanView, ...]
    alpha: tuple[tuple[int, Float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """One episode of a host.

    Attributes:
        accuracy: Epoch and validation accuracy in percent; ``None`` where it was not finite.
    """

    round: int
    epochs: int
    ended: str | None
    best_accuracy: Float | None
    lifelines: tuple[LifelineView, ...]
    accuracy: tuple[tuple[int, Float | None], ...]
    germinated: int
    fossilized: int
    pruned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallStep:
    """Accuracy after one more seed is switched on.

    Attributes:
        slot: The seed's slot; ``None`` for the host without seeds.
        accuracy: Validation accuracy in percent with this and the earlier seeds; ``None`` where
            that was not measured.
        change: What the step adds, in points.
    """

    slot: str | None
    accuracy: Float | None
    change: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactuals:
    """The latest counterfactual accuracies.

    Attributes:
        waterfall: From the host without seeds to the host with all.
        configurations: Active slots and validation accuracy in percent.
    """

    epoch: int | None
    waterfall: tuple[WaterfallStep, ...]
    configurations: tuple[tuple[tuple[str, ...], Float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host in full.

    Attributes:
        shapley: By slot, what its seed adds to accuracy on average, in points.
        rewards: Sum of the episode's rewards so far, by component.
        episode_return: Their sum, ``None`` before the first reward.
        test_accuracy: On the test split, in percent; ``None`` before it was evaluated.
        empty: Why there is no measurement, ``None`` if there is one; likewise
            ``counterfactuals_empty`` and ``profile_empty``.
    """

    __pydantic_config__ = WIRE_CONFIG

    card: HostCard
    train_loss: Float | None
    train_accuracy: Float | None
    host_parameters: int | None
    fossil_parameters: int | None
    live_parameters: int | None
    slots: tuple[SlotView, ...]
    current: EpisodeView
    best: EpisodeView | None
    counterfactuals: Counterfactuals | None
    shapley: dict[str, Float] | None
    rewards: dict[str, Float]
    episode_return: Float | None
    test_accuracy: Float | None
    test_loss: Float | None
    profile: ProfileView | None
    empty: str | None
    counterfactuals_empty: str | None
    profile_empty: str | None


def host_view(environment: EnvironmentState, state: RunState | None = None) -> HostView:
    """Selects one host in full.

    Args:
        environment: The host's.
        state: The run, which says why measurements are missing; ``None`` not to say it.
    """
    run = state or RunState()
    episode, best = environment.episode, environment.best_episode
    host, test = episode.host, environment.test
    return HostView(
        card=host_card(environment),
        train_loss=host.train_loss if host else None,
        train_accuracy=host.train_accuracy if host else None,
        host_parameters=host.host_parameters if host else None,
        fossil_parameters=host.fossil_parameters if host else None,
        live_parameters=host.live_parameters if host else None,
        slots=tuple(_slot(each) for each in episode.slots),
        current=_episode(episode),
        best=None if best is None else _episode(best),
        counterfactuals=_counterfactuals(episode.counterfactuals),
        shapley=episode.shapley.payload.values if episode.shapley else None,
        rewards=dict(episode.rewards),
        episode_return=math.fsum(episode.rewards.values()) if episode.rewards else None,
        test_accuracy=test.test_accuracy if test else None,
        test_loss=test.test_loss if test else None,
        profile=profile_view(environment.profile),
        empty=why_empty(
            run, ["epoch_completed"], "no epoch of this episode yet", shown=host is not None
        ),
        counterfactuals_empty=why_empty(
            run,
            ["counterfactual_matrix"],
            "not measured in this episode yet",
            shown=episode.counterfactuals is not None,
        ),
        profile_empty=why_unmeasured(run, shown=environment.profile is not None),
    )


def waterfall(matrix: CounterfactualMatrix) -> tuple[WaterfallStep, ...]:
    """Orders counterfactual accuracies from the host without seeds to the host with all.

    Seeds join one by one, the first slot first; a configuration that was not measured has no
    accuracy, and the next measured step holds the change of all since the last one.
    """
    measured = {frozenset(each.active): each.accuracy for each in matrix.configurations}
    slots = max((each.active for each in matrix.configurations), key=len, default=())
    steps: list[WaterfallStep] = []
    before: float | None = None
    for number, slot in enumerate([None, *slots]):
        accuracy = measured.get(frozenset(slots[:number]))
        change = accuracy - before if accuracy is not None and before is not None else None
        steps.append(WaterfallStep(slot=slot, accuracy=accuracy, change=change))
        before = before if accuracy is None else accuracy
    return tuple(steps)


def _slot(seed: SeedReport) -> SlotView:
    gate = seed.gate
    return SlotView(
        slot=seed.slot,
        stage=seed.stage.name,
        permitted=tuple(op.name for op in seed.permitted),
        blueprint=None if seed.blueprint is None else str(seed.blueprint),
        style=None if seed.style is None else seed.style.name,
        tempo=seed.tempo,
        alpha=seed.alpha,
        alpha_target=seed.alpha_target,
        alpha_mode=seed.alpha_mode.value,
        ramp_steps=seed.ramp_steps,
        ramp_done=seed.ramp_done,
        pruning=seed.pruning,
        epochs_in_stage=seed.epochs_in_stage,
        age=seed.age,
        parameters=seed.parameters,
        contribution=seed.contribution,
        contribution_velocity=seed.contribution_velocity,
        contribution_age=seed.counterfactual_age,
        interaction_sum=seed.interaction_sum,
        stage_improvement=seed.stage_improvement,
        gradient_norm=seed.gradient_norm,
        gradient_health=seed.gradient_health,
        gradient_vanishing=seed.gradient_vanishing,
        gradient_exploding=seed.gradient_exploding,
        gate=gate.gate.value if gate else None,
        passed=gate.passed_checks if gate else (),
        failed=gate.failed_checks if gate else (),
    )


def _episode(episode: Episode) -> EpisodeView:
    return EpisodeView(
        round=episode.round,
        epochs=episode.epochs,
        ended=episode.ended.value if episode.ended else None,
        best_accuracy=episode.best_accuracy,
        lifelines=tuple(_lifeline(each) for each in episode.lifelines),
        accuracy=tuple((bucket.last, bucket.mean) for bucket in episode.accuracy.buckets),
        germinated=episode.germinated,
        fossilized=episode.fossilized,
        pruned=episode.pruned,
    )


def _lifeline(line: Lifeline) -> LifelineView:
    return LifelineView(
        slot=line.slot,
        spans=tuple(
            SpanView(
                stage=span.stage.name,
                start=span.start,
                blueprint=None if span.blueprint is None else str(span.blueprint),
                contribution=span.contribution,
            )
            for span in line.spans
        ),
        alpha=tuple(
            (bucket.last, bucket.mean) for bucket in line.alpha.buckets if bucket.mean is not None
        ),
    )


def _counterfactuals(found: Stamped[CounterfactualMatrix] | None) -> Counterfactuals | None:
    if found is None:
        return None
    return Counterfactuals(
        epoch=found.epoch,
        waterfall=waterfall(found.payload),
        configurations=tuple((each.active, each.accuracy) for each in found.payload.configurations),
    )
