"""What a reward remembers of an episode, each environment's apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from esper_leyline import StepReport

Kept = TypeVar("Kept")


class EpisodeMemory(Generic[Kept]):
    """Remembers one thing of each environment's episode from step to step.

    It must see the steps of an episode in order, as the loop over a round shows them.
    What is kept belongs to consecutive epochs of one environment's host: a step that does
    not go on from the last one finds nothing, and the end of the episode forgets it.
    """

    def __init__(self) -> None:
        self._notes: dict[int, _Note[Kept]] = {}

    def recall(self, report: StepReport) -> Kept | None:
        """Returns what was kept at this report, ``None`` if nothing was."""
        note = self._notes.get(report.environment)
        if note is None or (note.seed, note.epoch) != (report.seed, report.epoch):
            return None
        return note.kept

    def keep(self, report: StepReport, kept: Kept) -> None:
        """Keeps something for the step that goes on from this report, if one does."""
        if report.ended is None:
            note = _Note(seed=report.seed, epoch=report.epoch, kept=kept)
            self._notes[report.environment] = note
        else:
            self._notes.pop(report.environment, None)


@dataclass(frozen=True, slots=True)
class _Note(Generic[Kept]):
    seed: int
    epoch: int
    kept: Kept
