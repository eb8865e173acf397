"""State that a reward keeps from step to step, separately for each environment's episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from esper_leyline import StepReport

Entry = TypeVar("Entry")


class EpisodeLedger(Generic[Entry]):
    """Keeps one entry per environment during its episode.

    It must see the steps of an episode in order. An entry belongs to consecutive epochs of one
    host: a step that does not continue the last one finds nothing, and the end of an episode
    removes the entry.
    """

    def __init__(self) -> None:
        self._records: dict[int, _Record[Entry]] = {}

    def get(self, report: StepReport) -> Entry | None:
        """Returns the entry stored at this report, or ``None``."""
        record = self._records.get(report.environment)
        if record is None or (record.rng_seed, record.epoch) != (report.rng_seed, report.epoch):
            return None
        return record.entry

    def put(self, report: StepReport, entry: Entry) -> None:
        """Stores an entry for the step that continues from this report, if there is one."""
        if report.ended is None:
            record = _Record(rng_seed=report.rng_seed, epoch=report.epoch, entry=entry)
            self._records[report.environment] = record
        else:
            self._records.pop(report.environment, None)


@dataclass(frozen=True, slots=True)
class _Record(Generic[Entry]):
    rng_seed: int
    epoch: int
    entry: Entry
