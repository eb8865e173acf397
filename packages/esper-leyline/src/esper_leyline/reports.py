"""What an environment says after each step, and what a reward is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal

from esper_leyline.actions import BlendStyle, BlueprintName, FactoredAction, Op
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.lifecycle.machine import AlphaMode
from esper_leyline.lifecycle.stages import OCCUPIED_STAGES, SeedStage
from esper_leyline.profiles import HostProfile
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMeasurement:
    """What validation said of one seed in one epoch, in percentage points of accuracy.

    Attributes:
        slot: The seed's slot.
        contribution: Main accuracy minus accuracy with this seed's alpha at zero.
        interaction_sum: Sum over the other active seeds j of
            f(ij) - f(i) - f(j) + f(none); ``None`` where it was not measured.
    """

    __pydantic_config__ = WIRE_CONFIG

    slot: str
    contribution: Float
    interaction_sum: Float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """The state of one slot after an epoch; ``None`` is not measured or not applicable.

    Attributes:
        permitted: The ops that the lifecycle accepts for this slot now.
        alpha: Blend strength during the next epoch.
        alpha_velocity: Change of alpha over the last tick.
        parameters: Trainable parameters of the seed, its gate included.
        contribution: Latest leave-one-out contribution, in points.
        contribution_velocity: Its change since the measurement before.
        counterfactual_age: Epochs since that measurement; 0 is this epoch.
        stage_improvement: Validation accuracy now minus at entry of the stage, in points.
    """

    __pydantic_config__ = WIRE_CONFIG

    slot: str
    stage: SeedStage = SeedStage.DORMANT
    permitted: tuple[Op, ...] = ()
    blueprint: BlueprintName | None = None
    style: BlendStyle | None = None
    tempo: int | None = None
    alpha: Float = 0.0
    alpha_target: Float | None = None
    alpha_mode: AlphaMode = AlphaMode.HOLD
    alpha_velocity: Float = 0.0
    ramp_steps: int = 0
    ramp_done: int = 0
    pruning: bool = False
    epochs_in_stage: int = 0
    age: int = 0
    parameters: int = 0
    contribution: Float | None = None
    contribution_velocity: Float | None = None
    counterfactual_age: int | None = None
    interaction_sum: Float | None = None
    stage_improvement: Float | None = None
    gradient_norm: Float | None = None
    gradient_health: Float | None = None
    gradient_vanishing: bool | None = None
    gradient_exploding: bool | None = None
    previous_gradient_health: Float | None = None
    gate: GateResult | None = None

    @property
    def occupied(self) -> bool:
        """Whether the slot holds a module."""
        return self.stage in OCCUPIED_STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """Whether a host carried out a command, and why not."""

    __pydantic_config__ = WIRE_CONFIG

    accepted: bool
    reason: str | None = None


class SeedEventKind(StrEnum):
    """What happened to a seed, by the name that it has in the event log."""

    GERMINATED = "seed_germinated"
    STAGE_CHANGED = "seed_stage_changed"
    GATE_EVALUATED = "seed_gate_evaluated"
    FOSSILIZED = "seed_fossilized"
    PRUNED = "seed_pruned"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEvent:
    """One thing that happened to one seed during a step, in order.

    Attributes:
        parameters: Trainable parameters of the module concerned.
        age: Epochs since germination when it happened.
        contribution: Latest contribution in points, ``None`` if never measured.
        gate: The gate's result, where one was evaluated.

    Raises:
        ValueError: If a gate event has no gate, or the event of a seed's germination,
            fossilization or pruning no blueprint.
    """

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal[
        SeedEventKind.GERMINATED,
        SeedEventKind.STAGE_CHANGED,
        SeedEventKind.GATE_EVALUATED,
        SeedEventKind.FOSSILIZED,
        SeedEventKind.PRUNED,
    ]
    slot: str
    source: SeedStage
    target: SeedStage
    blueprint: BlueprintName | None = None
    parameters: int = 0
    age: int = 0
    alpha: Float = 0.0
    contribution: Float | None = None
    gate: GateResult | None = None

    def __post_init__(self) -> None:
        if self.kind is SeedEventKind.GATE_EVALUATED:
            if self.gate is None:
                raise ValueError(f"the {self.kind} event of slot {self.slot} names no gate")
        elif self.kind is not SeedEventKind.STAGE_CHANGED and self.blueprint is None:
            raise ValueError(f"the {self.kind} event of slot {self.slot} names no blueprint")


class EpisodeEnd(StrEnum):
    """Why an episode is over."""

    HORIZON = "horizon"
    """All epochs were trained."""
    GOVERNOR = "governor"
    """The host became unstable and was rolled back."""


class GovernorCause(StrEnum):
    """What made the governor step in."""

    NON_FINITE = "non_finite"
    RETURN_TO_CHANCE = "return_to_chance"
    DIVERGENCE = "divergence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The governor undid an unstable epoch and ended the episode."""

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["governor_rolled_back"] = "governor_rolled_back"
    cause: GovernorCause
    loss: Float
    threshold: Float | None
    restored_epoch: int


class Measurement(StrEnum):
    """A counterfactual that a part of a run needs; the names of ``CounterfactualSet``'s fields."""

    NONE = "none"
    """Validation of the host without seeds."""
    SOLO = "solo"
    """Validation of each active seed alone."""
    PAIRS = "pairs"
    """Validation of each two seeds alone."""
    COMMITTED = "committed"
    """Validation of the host with fossilized seeds only."""
    SHAPLEY = "shapley"
    """Shapley values of the seeds in the last epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualConfig:
    """Validation accuracy in percent with the named slots active and the others at zero."""

    __pydantic_config__ = WIRE_CONFIG

    active: tuple[str, ...]
    accuracy: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapleyValues:
    """What each active seed adds to validation accuracy, averaged over orders of enabling them.

    They add up to the accuracy with all active seeds minus the accuracy with none
    (Shapley 1953).

    Attributes:
        values: By slot, in points.
        exact: Whether every order counted.
        permutations: Orders sampled where not.
    """

    __pydantic_config__ = WIRE_CONFIG

    kind: Literal["shapley_measured"] = "shapley_measured"
    values: dict[str, Float]
    exact: bool
    permutations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """The state of a host after an epoch.

    Losses are mean cross-entropies in nats; accuracies are percentages of the
    validation split (or of the training batches where named so).

    Attributes:
        seeds: One report a slot, row-major.
        host_parameters: Trainable parameters that the host was built with.
        fossil_parameters: Trainable parameters of fossilized seeds.
        live_parameters: Trainable parameters of seeds that may still be pruned.
        wasted_epoch_parameters: Sum over pruned seeds of parameters times epochs lived.
    """

    __pydantic_config__ = WIRE_CONFIG

    seeds: tuple[SeedReport, ...]
    host_parameters: int
    fossil_parameters: int = 0
    live_parameters: int = 0
    wasted_epoch_parameters: int = 0
    train_loss: Float | None = None
    train_accuracy: Float | None = None
    val_loss: Float | None = None
    val_accuracy: Float | None = None

    @property
    def total_parameters(self) -> int:
        """Trainable parameters of the host and every seed in it."""
        return self.host_parameters + self.fossil_parameters + self.live_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport(HostReport):
    """What an environment reports after each step: all that a policy, a reward or a log needs.

    A fresh host has epoch 0 and measurements of ``None``: it was not validated yet.

    Attributes:
        environment: Index of the environment.
        rng_seed: The host's own random seed.
        action: The action that led here, ``None`` after a reset.
        action_succeeded: Whether the host accepted it, ``None`` after a reset.
        rejection: Why not.
        history: Validation (loss, accuracy) of the last five epochs, oldest first.
        counterfactuals: The configurations validated this epoch.
        shapley: Measured on an episode's last epoch, where it was requested.
        profile: What the telemetry profile measured, in the epochs in which it measures.
        ended: Why the episode is over, ``None`` while it runs.
        seconds: Wall time of the step's parts by name.
    """

    __pydantic_config__ = WIRE_CONFIG

    environment: int
    rng_seed: int
    epoch: int
    max_epochs: int
    history: tuple[tuple[Float, Float], ...] = ()
    action: FactoredAction | None = None
    action_succeeded: bool | None = None
    rejection: str | None = None
    events: tuple[SeedEvent, ...] = ()
    counterfactuals: tuple[CounterfactualConfig, ...] = ()
    shapley: ShapleyValues | None = None
    rollback: Rollback | None = None
    profile: HostProfile | None = None
    ended: EpisodeEnd | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def host(self) -> HostReport:
        """The part that describes the host alone."""
        return HostReport(**{each: getattr(self, each) for each in _HOST_FIELDS})

    @property
    def blueprints_in_use(self) -> tuple[BlueprintName | None, ...]:
        """The blueprint of each slot, row-major."""
        return tuple(seed.blueprint for seed in self.seeds)


_HOST_FIELDS = tuple(each.name for each in fields(HostReport))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A suspicion about a reward.

    Attributes:
        kind: What is suspected, such as ``inflated_contribution``.
        slot: Slot of the seed concerned, ``None`` for the whole host.
    """

    __pydantic_config__ = WIRE_CONFIG

    kind: str
    slot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardBreakdown:
    """A reward as the sum of named components.

    Attributes:
        components: Value of each component, penalties negative.
        flags: Suspicions raised on the way, such as reward hacking.
        notes: How it was computed, where that needs a remark.
    """

    __pydantic_config__ = WIRE_CONFIG

    components: dict[str, Float]
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The reward."""
        return math.fsum(self.components.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """A host on the test split, after the fact; nothing that trains may read it."""

    __pydantic_config__ = WIRE_CONFIG

    environment: int
    rng_seed: int
    test_loss: Float
    test_accuracy: Float
    parameters: int
