"""How a run stands or ended: the same from its log and from its ``summary.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_karn.state.rounds import RoundHistory, RoundStats, merge_all
from esper_leyline import Op, RunStatus, RunSummary
from esper_leyline.wire import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Mean return of the first and of the last rounds of a run.

    Attributes:
        rounds: Rounds in each of the two groups, which do not overlap.
        first: Mean return of the first group, ``None`` without a finite one.
        last: Mean return of the last group.
    """

    rounds: int
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run as a whole; ``None`` where its log or summary does not say.

    Attributes:
        status: ``RUNNING`` until an event says otherwise.
        seconds: Wall time of all processes of an ended run.
        host_parameters: Parameters of a host without seeds.
        checkpoint: The last one, relative to the run.
        mean_test_accuracy: Of the last round's hosts, in percent.
        rounds_done: Number of the last finished round.
    """

    command: str | None = None
    task: str | None = None
    status: RunStatus = RunStatus.RUNNING
    error: str | None = None
    seconds: Float | None = None
    host_parameters: int | None = None
    checkpoint: str | None = None
    mean_test_accuracy: Float | None = None
    peak_memory_mb: Float | None = None
    rounds_done: int = 0
    rounds: RoundHistory = field(default_factory=RoundHistory)

    @classmethod
    def of(cls, summary: RunSummary) -> RunReport:
        """Returns the report of a run from its summary."""
        return cls(
            command=summary.command,
            task=summary.task,
            status=summary.status,
            error=summary.error,
            seconds=summary.seconds,
            host_parameters=summary.host_parameters,
            checkpoint=summary.checkpoint,
            mean_test_accuracy=summary.mean_test_accuracy,
            peak_memory_mb=summary.peak_memory_mb,
            rounds_done=summary.rounds[-1].round if summary.rounds else 0,
            rounds=RoundHistory.of(summary.rounds),
        )

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops that were chosen, in the order of the action space."""
        total = self.rounds.total
        found = total.ops if total else {}
        known = [op.name for op in Op]
        return (
            *(name for name in known if name in found),
            *(name for name in found if name not in known),
        )

    @property
    def trend(self) -> Trend | None:
        """The first rounds against the last ones, ``None`` with fewer than two rounds."""
        history = self.rounds
        first, last = history.head, history.tail
        if not history.middle:
            # Head and tail hold every round: compare the two halves.
            whole = (*history.head, *history.tail)
            half = min(len(history.head), len(whole) // 2)
            first, last = whole[:half], whole[len(whole) - half :]
        size = min(len(first), len(last))
        if size == 0:
            return None
        return Trend(rounds=size, first=_mean_return(first[:size]), last=_mean_return(last[-size:]))


def _mean_return(rounds: tuple[RoundStats, ...]) -> float | None:
    merged = merge_all(rounds)
    return merged.mean_return if merged else None
