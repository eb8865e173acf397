"""``summary.json``: how a run ended."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from esper_leyline.wire import Contract, Float


class RunStatus(StrEnum):
    """Whether a run is running, or how it ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class RoundSummary(Contract):
    """One round of episodes in a line.

    Attributes:
        mean_return: Mean undiscounted return of the round's episodes.
        mean_accuracy: Mean final validation accuracy, in percent.
        best_accuracy: Best final validation accuracy, in percent.
        ops: How often each op was chosen, by name.
        grown_parameters: Mean parameters of fossilized seeds at the episodes' end.
        rollbacks: Episodes that the governor ended.
        rollback_causes: The same by cause.
    """

    round: int
    episodes: int
    mean_return: Float
    mean_accuracy: Float | None
    best_accuracy: Float | None
    ops: dict[str, int]
    germinated: int
    fossilized: int
    pruned: int
    grown_parameters: Float
    rollbacks: int = 0
    rollback_causes: dict[str, int] = Field(default_factory=dict)
    seconds: Float


class TelemetryLoss(Contract):
    """Events that a run could not write; training went on without them.

    Attributes:
        since_sequence: Sequence number of the first event that is missing.
        events: How many are missing, until now where none is written any more.
        reason: Why, in one line.
    """

    since_sequence: int
    events: int
    reason: str


class RunSummary(Contract):
    """The end of a run, and its rounds.

    Attributes:
        telemetry_lost: What the event log lacks; ``None`` where it is whole.
        group: The comparison that the run is an arm of; ``None`` outside one.
        seconds: Wall time of all processes that trained the run, without the breaks between them.
        mean_test_accuracy: Mean accuracy of the last round's hosts on the test split,
            in percent; nothing was chosen by it.
    """

    run_id: str
    group: str | None = None
    command: str
    task: str
    status: RunStatus
    error: str | None = None
    started: Float = Field(description="Unix time of the run's first process.")
    ended: Float | None = Field(
        default=None, description="Unix time; none in summaries of earlier versions."
    )
    seconds: Float
    rounds: tuple[RoundSummary, ...]
    host_parameters: int | None
    mean_test_accuracy: Float | None = None
    checkpoint: str | None = Field(default=None, description="The last one, relative to the run.")
    resume: str | None = Field(
        default=None, description="Command that resumes an unfinished run from its checkpoint."
    )
    peak_memory_mb: Float | None = None
    telemetry_lost: TelemetryLoss | None = None
