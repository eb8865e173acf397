"""Events of a run as a whole: its start and end, rounds, epochs and checkpoints."""

from __future__ import annotations

from typing import Literal

from esper_leyline.config.training import TrainingConfig
from esper_leyline.reports import EpisodeEnd, HostReport
from esper_leyline.slots import SlotId
from esper_leyline.summary import RoundSummary, RunStatus
from esper_leyline.wire import Contract, Float


class RunStarted(Contract):
    """A run began. Task, device and length are in its configuration.

    Attributes:
        slots: The slots that are enabled, in row-major order.
        config: The resolved configuration: no value is left for the task to fill in.
        versions: Version of Python and of each library, by name.
    """

    kind: Literal["run_started"] = "run_started"
    command: str
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
    """One host finished one epoch."""

    kind: Literal["epoch_completed"] = "epoch_completed"
    host: HostReport


class RoundCompleted(Contract):
    """All episodes of a round ended; numbered from 1."""

    kind: Literal["round_completed"] = "round_completed"
    summary: RoundSummary


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
