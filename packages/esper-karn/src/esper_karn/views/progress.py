"""How far a run is, and when it should be done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from esper_karn.state.episode import Episode
from esper_karn.state.reducer import rounds_worked
from esper_karn.state.run import Cursor, RunState
from esper_leyline.events import RunStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        rounds_done: Number of the last finished round.
        rounds_total: Rounds of the whole run, ``None`` if not known.
        round: The current round, or the last one of an ended run.
        epochs_done: Epochs of the current round that are done, summed over hosts.
        epochs_total: Epochs of a whole round, summed over hosts; ``None`` if not known.
        share: Share of the run that is done, in [0, 1]; ``None`` if its length is not known.
        mean_accuracy: Mean latest validation accuracy of the current round's hosts, in percent.
        elapsed: Seconds from the first event to the latest.
        eta: Seconds until the end at the pace of the current process, as of the latest
            event; ``None`` before any work is done.
    """

    rounds_done: int
    rounds_total: int | None
    round: int
    epochs_done: int
    epochs_total: int | None
    share: float | None
    mean_accuracy: float | None
    elapsed: float | None
    eta: float | None


def progress(state: RunState) -> Progress:
    """Selects how far a run is and when it should be done."""
    started, done = state.started, state.report.rounds_done
    total = started.config.n_episodes if started else None
    current = [each.episode for each in state.environments if each.episode.round > done]
    worked = rounds_worked(state)
    return Progress(
        rounds_done=done,
        rounds_total=total,
        round=done if state.ended else done + 1,
        epochs_done=sum(_epochs_done(each, started) for each in current),
        epochs_total=started.config.n_envs * started.config.max_epochs if started else None,
        share=min(1.0, worked / total) if total else None,
        mean_accuracy=_mean_accuracy(current),
        elapsed=_elapsed(state.cursor),
        eta=_eta(state, worked, total),
    )


def _epochs_done(episode: Episode, started: RunStarted | None) -> int:
    """Counts an episode that ended early as complete: its other epochs will not come."""
    if episode.ended is not None and started is not None:
        return started.config.max_epochs
    return episode.epochs


def _mean_accuracy(episodes: list[Episode]) -> float | None:
    values = [each.host.val_accuracy for each in episodes if each.host is not None]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _elapsed(cursor: Cursor) -> float | None:
    if cursor.first_wall is None or cursor.last_wall is None:
        return None
    return cursor.last_wall - cursor.first_wall


def _eta(state: RunState, worked: float, total: int | None) -> float | None:
    cursor = state.cursor
    done = worked - cursor.boot_rounds
    spent = cursor.monotonic - cursor.boot_start
    if total is None or done <= 0 or state.ended:
        return None
    # remaining rounds * seconds per round
    return max(0.0, total - worked) * spent / done
