"""What events carry.

Some payloads are parts of a report: ``SeedEvent``, ``ShapleyValues``, ``Rollback``,
``HostProfile``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, get_args, get_type_hints

from pydantic import Field

from esper_leyline.actions import FactoredAction
from esper_leyline.config.training import TrainingConfig
from esper_leyline.profiles import HostProfile
from esper_leyline.reports import (
    CounterfactualConfig,
    EpisodeEnd,
    EvaluationReport,
    Flag,
    HostReport,
    RewardBreakdown,
    Rollback,
    SeedEvent,
    ShapleyValues,
)
from esper_leyline.slots import SlotId
from esper_leyline.summary import RoundSummary, RunStatus
from esper_leyline.wire import Contract, Float


class RunStarted(Contract):
    """A run began; written before its environment is built.

    Task, device and length are in its configuration.

    Attributes:
        config: The resolved configuration: no value is left for the task to fill in.
        versions: Version of Python and of each library, by name.
    """

    kind: Literal["run_started"] = "run_started"
    command: str
    config: TrainingConfig
    versions: dict[str, str]


class Phase(StrEnum):
    """What a run is doing."""

    PREPARING_DATA = "preparing_data"
    BUILDING = "building"
    COMPILING = "compiling"
    STARTING_WORKERS = "starting_workers"
    TRAINING = "training"
    TESTING = "testing"


class RunPhase(Contract):
    """A run entered a phase.

    Attributes:
        detail: What exactly is done, for people, such as the name of a data set.
    """

    kind: Literal["run_phase"] = "run_phase"
    phase: Phase
    detail: str | None = None


class EnvironmentBuilt(Contract):
    """The hosts and the policy of a run were built.

    Attributes:
        slots: The slots that are enabled, in row-major order.
        host_parameters: Trainable parameters of a host without seeds.
        policy_parameters: Trainable parameters of the policy, ``None`` without one.
        plan: How hosts are distributed over processes and devices, in one line.
    """

    kind: Literal["environment_built"] = "environment_built"
    slots: tuple[SlotId, ...]
    host_parameters: int
    policy_parameters: int | None = None
    plan: str | None = None


class RunResumed(Contract):
    """A run went on in a new process, right after its ``run_started``.

    What the log holds of rounds after ``rounds_completed`` is void: the run was killed, and those
    rounds follow again under the same numbers, with the same results unless settings changed. A
    reducer rewinds to ``rounds_completed``.

    Attributes:
        checkpoint: The checkpoint, relative to the run where it lies in it; ``None`` for a run that
            was killed before its first one and starts again at round 1.
        rounds_completed: Rounds that are done.
    """

    kind: Literal["run_resumed"] = "run_resumed"
    checkpoint: str | None = None
    rounds_completed: int


class RunCompleted(Contract):
    """A run ended without an error: after its last round, or because a stop was requested.

    Attributes:
        seconds: Wall time of all processes that trained the run, without the breaks between them.
    """

    kind: Literal["run_completed"] = "run_completed"
    status: RunStatus
    rounds_completed: int
    seconds: Float


class RunFailed(Contract):
    """A run ended with an error.

    Attributes:
        seconds: As of ``RunCompleted``.
    """

    kind: Literal["run_failed"] = "run_failed"
    error: str
    rounds_completed: int
    seconds: Float


class CheckpointSaved(Contract):
    """A checkpoint was written."""

    kind: Literal["checkpoint_saved"] = "checkpoint_saved"
    path: str
    rounds_completed: int


class CheckpointLoaded(Contract):
    """A checkpoint was read."""

    kind: Literal["checkpoint_loaded"] = "checkpoint_loaded"
    path: str
    rounds_completed: int


class EpochCompleted(Contract):
    """One host finished one epoch."""

    kind: Literal["epoch_completed"] = "epoch_completed"
    host: HostReport


class RoundCompleted(Contract):
    """All episodes of a round ended; numbered from 1."""

    kind: Literal["round_completed"] = "round_completed"
    summary: RoundSummary


class EpisodeStarted(Contract):
    """A fresh host began an episode.

    Attributes:
        rng_seed: The host's own random seed.
        device: Device that trains it, such as ``cuda:0``.
        worker: Index of the worker process; ``None`` in the trainer's own process.
    """

    kind: Literal["episode_started"] = "episode_started"
    rng_seed: int
    device: str
    worker: int | None = None


class EpisodeOutcome(Contract):
    """One episode ended, after as many epochs as its event's ``epoch`` says.

    Attributes:
        episode_return: Undiscounted sum of the episode's rewards.
        reward_components: The same sum by component.
        best_val_accuracy: Best validation accuracy of the episode, in percent.
        host: The host at the episode's end.
    """

    kind: Literal["episode_outcome"] = "episode_outcome"
    rng_seed: int
    episode_return: Float
    reward_components: dict[str, Float]
    ended: EpisodeEnd
    best_val_accuracy: Float | None
    germinated: int
    fossilized: int
    pruned: int
    host: HostReport


class Throughput(Contract):
    """How fast a round went.

    Attributes:
        seconds: Wall time by part.
    """

    kind: Literal["throughput"] = "throughput"
    host_epochs_per_second: Float
    seconds: dict[str, Float]


class TestEvaluated(Contract):
    """A host was evaluated on the test split after training."""

    __test__ = False  # pytest would collect a class of this name

    kind: Literal["test_evaluated"] = "test_evaluated"
    result: EvaluationReport


class GpuVitals(Contract):
    """One GPU; ``None`` where a value cannot be read."""

    index: int
    name: str
    percent: Float | None = None
    memory_mb: Float | None = None
    total_memory_mb: Float | None = None
    temperature: Float | None = None


class Vitals(Contract):
    """The machine under the run; ``None`` where a value cannot be read.

    Attributes:
        cpu_percent: Use of all cores, 0 to 100.
        rss_mb: Resident memory of the run's processes.
        memory_mb: Memory in use on the machine.
        total_memory_mb: Memory of the machine.
        disk_free_mb: Free space where the run directory is.
        total_disk_mb: Size of that disk.
        gpus: Every GPU of the machine.
    """

    kind: Literal["vitals"] = "vitals"
    cpu_percent: Float | None = None
    rss_mb: Float | None = None
    memory_mb: Float | None = None
    total_memory_mb: Float | None = None
    disk_free_mb: Float | None = None
    total_disk_mb: Float | None = None
    gpus: tuple[GpuVitals, ...] = ()


class MemoryWarning(Contract):
    """Memory is getting short.

    Attributes:
        device: ``memory``, ``disk`` or a GPU, such as ``cuda:0``.
    """

    kind: Literal["memory_warning"] = "memory_warning"
    device: str
    used_mb: Float
    total_mb: Float


class ThroughputWarning(Contract):
    """Training became much slower than it was.

    Attributes:
        current: Host epochs per second now.
        typical: Host epochs per second of the run so far, the median over rounds.
    """

    kind: Literal["throughput_warning"] = "throughput_warning"
    current: Float
    typical: Float


class WorkerRestarted(Contract):
    """A worker process died and was started again; its episodes were replayed.

    Attributes:
        worker: Index of the worker process.
        environments: Environments whose episodes it replayed.
        reason: How it died.
        replayed_epochs: Epochs that it replayed, over all its environments.
    """

    kind: Literal["worker_restarted"] = "worker_restarted"
    worker: int
    environments: tuple[int, ...]
    reason: str
    replayed_epochs: int


class CounterfactualMatrix(Contract):
    """Validation accuracy of one host with different seeds switched off."""

    kind: Literal["counterfactual_matrix"] = "counterfactual_matrix"
    configurations: tuple[CounterfactualConfig, ...]


class HostStabilized(Contract):
    """A host's loss has settled enough for seeds to be judged."""

    kind: Literal["host_stabilized"] = "host_stabilized"
    val_loss: Float


class PlateauDetected(Contract):
    """A host stopped improving."""

    kind: Literal["plateau_detected"] = "plateau_detected"
    epochs_without_improvement: int


class DegradationDetected(Contract):
    """A host's validation accuracy fell clearly."""

    kind: Literal["degradation_detected"] = "degradation_detected"
    drop: Float


class ImprovementDetected(Contract):
    """A host's validation accuracy rose clearly."""

    kind: Literal["improvement_detected"] = "improvement_detected"
    gain: Float


class PerformanceDegradation(Contract):
    """Accuracy stays well below its best."""

    kind: Literal["performance_degradation"] = "performance_degradation"
    best: Float
    current: Float


class HeadDecision(Contract):
    """What one head could choose and how likely each choice was.

    Attributes:
        probabilities: By index; zero where masked.
        valid: Whether each choice was open.
    """

    probabilities: tuple[Float, ...]
    valid: tuple[bool, ...]


class Decision(Contract):
    """One decision of a controller and its reward.

    Attributes:
        heads: Probabilities by head, only of heads that the op reads; empty for
            controllers without probabilities.
        value: V(s), the expected return, in reward units; ``None`` without a critic.
        q_values: Q(s, op) by op; ``None`` without one.
        forced: Whether nothing but WAIT was possible.
        reason: Why the controller chose it, in a sentence; ``None`` for a policy.
        rejection: Why the host did not accept the action, ``None`` if it did.
        reward: What the decision earned; ``None`` where nothing paid for it.
    """

    kind: Literal["decision"] = "decision"
    action: FactoredAction
    slot: SlotId | None = None
    succeeded: bool = True
    forced: bool = False
    reason: str | None = None
    rejection: str | None = None
    heads: dict[str, HeadDecision] = Field(default_factory=dict)
    value: Float | None = None
    q_values: tuple[Float, ...] | None = None
    reward: RewardBreakdown | None = None


class QValue(Contract):
    """Q(s, op) of one op over a round.

    Attributes:
        mean: Mean over the steps in which the op was open, in reward units.
        variance: Its variance over those steps.
        valid_steps: How many there were.
    """

    op: str
    mean: Float | None
    variance: Float | None
    valid_steps: int


class PPOUpdate(Contract):
    """One round's update; means over valid, relevant steps.

    Attributes:
        kl: KL divergence of the last pass, old to new policy, of a whole decision: the sum of
            ``head_kl``.
        head_kl: The same by head, exact, mean over the decisions; ``None`` for a head that was
            never relevant. The learning rate follows the largest.
        learning_rate: Step size of the last step.
        passes: Passes over the rollout that were made; fewer than configured after a fault.
        head_entropy: Entropy by head, 1 being uniform over the open choices;
            ``None`` for a head that was never relevant.
        head_gradient_norm: Gradient norm by head, before clipping.
        gradient_kept: What clipping left of the gradients, mean over the steps: 1 is all.
        q_spread: Largest minus smallest mean Q of the ops, ``None`` if fewer than two.
        skipped: Why nothing was updated, or ``None``.
    """

    kind: Literal["ppo_update"] = "ppo_update"
    policy_loss: Float | None
    value_loss: Float | None
    entropy: Float | None
    head_entropy: dict[str, Float | None]
    head_gradient_norm: dict[str, Float | None]
    gradient_norm: Float | None
    gradient_kept: Float | None = None
    kl: Float | None
    head_kl: dict[str, Float | None] = Field(default_factory=dict)
    clip_fraction: Float | None
    ratio_min: Float | None
    ratio_max: Float | None
    explained_variance: Float | None
    advantage_mean: Float | None
    advantage_std: Float | None
    return_mean: Float | None
    return_std: Float | None
    lstm_hidden_norm: Float | None
    lstm_cell_norm: Float | None
    q_values: tuple[QValue, ...]
    q_spread: Float | None
    learning_rate: Float
    entropy_coefficient: Float
    passes: int
    seconds: dict[str, Float]
    skipped: str | None = None


class RatioExplosion(Contract):
    """Some probability ratio became very large."""

    kind: Literal["ratio_explosion"] = "ratio_explosion"
    ratio: Float
    threshold: Float


class RatioCollapse(Contract):
    """Some probability ratio became very small."""

    kind: Literal["ratio_collapse"] = "ratio_collapse"
    ratio: Float
    threshold: Float


class ValueCollapse(Contract):
    """The critic explains nothing of the returns."""

    kind: Literal["value_collapse"] = "value_collapse"
    explained_variance: Float
    threshold: Float


class EntropyCollapse(Contract):
    """A head all but stopped choosing."""

    kind: Literal["entropy_collapse"] = "entropy_collapse"
    head: str
    entropy: Float
    threshold: Float


class GradientPathology(Contract):
    """A gradient norm is far from ordinary.

    Attributes:
        where: A head, ``policy`` for the whole, or ``clipping``.
        norm: L2 norm before clipping; for ``clipping`` the share that it left.
    """

    kind: Literal["gradient_pathology"] = "gradient_pathology"
    where: str
    norm: Float
    threshold: Float


class NumericalInstability(Contract):
    """A NaN or an infinity appeared."""

    kind: Literal["numerical_instability"] = "numerical_instability"
    where: str
    consecutive: int


class RewardHackingSuspected(Contract):
    """A reward was withheld because its cause looks suspicious."""

    kind: Literal["reward_hacking_suspected"] = "reward_hacking_suspected"
    flag: Flag


AnyPayload = (
    RunStarted
    | RunPhase
    | EnvironmentBuilt
    | RunResumed
    | RunCompleted
    | RunFailed
    | CheckpointSaved
    | CheckpointLoaded
    | EpochCompleted
    | RoundCompleted
    | EpisodeStarted
    | EpisodeOutcome
    | TestEvaluated
    | HostProfile
    | Throughput
    | ThroughputWarning
    | Vitals
    | MemoryWarning
    | WorkerRestarted
    | SeedEvent
    | CounterfactualMatrix
    | ShapleyValues
    | HostStabilized
    | PlateauDetected
    | DegradationDetected
    | ImprovementDetected
    | PerformanceDegradation
    | Rollback
    | Decision
    | PPOUpdate
    | RatioExplosion
    | RatioCollapse
    | ValueCollapse
    | EntropyCollapse
    | GradientPathology
    | NumericalInstability
    | RewardHackingSuspected
)

Payload = Annotated[AnyPayload, Field(discriminator="kind")]
"""What an event carries, discriminated by ``kind``."""


def _kinds(payload: type[AnyPayload]) -> tuple[str, ...]:
    return tuple(str(kind) for kind in get_args(get_type_hints(payload)["kind"]))


PAYLOADS: Mapping[str, type[AnyPayload]] = MappingProxyType(
    {kind: payload for payload in get_args(AnyPayload) for kind in _kinds(payload)}
)
"""The type of payload of every kind."""
