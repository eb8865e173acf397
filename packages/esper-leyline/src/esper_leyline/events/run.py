"""Events of a run as a whole: its start and end, rounds, epochs and checkpoints."""

from __future__ import annotations

from typing import Literal

from esper_leyline.config import TrainingConfig
from esper_leyline.reports import EpisodeEnd, SeedReport
from esper_leyline.slots import SlotId
from esper_leyline.summary import RoundSummary, RunStatus
from esper_leyline.wire import Contract, Float


class RunStarted(Contract):
    """A run began; ``rounds`` and ``environments`` tell how long it will be."""

    kind: Literal["run_started"] = "run_started"
    command: str
    task: str
    device: str
    rounds: int
    environments: int
    max_epochs: int
    slots: tuple[SlotId, ...]
    host_parameters: int
    policy_parameters: int | None = None
    config: TrainingConfig
    versions: dict[str, str]


class RunResumed(Contract):
    """A run went on from a checkpoint."""

    kind: Literal["run_resumed"] = "run_resumed"
    checkpoint: str
    rounds_completed: int


class RunCompleted(Contract):
    """A run ended in order: at its last round, or because it was asked to stop."""

    kind: Literal["run_completed"] = "run_completed"
    status: RunStatus
    rounds_completed: int
    seconds: Float


class RunFailed(Contract):
    """A run ended with an error."""

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
    """One host finished one epoch. Losses in nats, accuracies in percent."""

    kind: Literal["epoch_completed"] = "epoch_completed"
    round: int
    epoch: int
    max_epochs: int
    train_loss: Float | None
    train_accuracy: Float | None
    val_loss: Float | None
    val_accuracy: Float | None
    seeds: tuple[SeedReport, ...]
    host_parameters: int
    fossil_parameters: int
    live_parameters: int


class RoundCompleted(Contract):
    """All episodes of a round ended; numbered from 1."""

    kind: Literal["round_completed"] = "round_completed"
    summary: RoundSummary


class EpisodeOutcome(Contract):
    """One episode ended."""

    kind: Literal["episode_outcome"] = "episode_outcome"
    round: int
    seed: int
    episode_return: Float
    reward_components: dict[str, Float]
    epochs: int
    ended: EpisodeEnd
    val_accuracy: Float | None
    best_val_accuracy: Float | None
    germinated: int
    fossilized: int
    pruned: int
    host_parameters: int
    fossil_parameters: int
    wasted_epoch_parameters: int


class Throughput(Contract):
    """How fast the run goes; seconds by part over the round."""

    kind: Literal["throughput"] = "throughput"
    round: int
    host_epochs_per_second: Float
    seconds: dict[str, Float]


class Vitals(Contract):
    """The machine under the run; ``None`` where it cannot be read."""

    kind: Literal["vitals"] = "vitals"
    cpu_percent: Float | None = None
    memory_mb: Float | None = None
    gpu_memory_mb: Float | None = None
    gpu_percent: Float | None = None


class MemoryWarning(Contract):
    """Memory is getting short."""

    kind: Literal["memory_warning"] = "memory_warning"
    device: str
    used_mb: Float
    total_mb: Float
