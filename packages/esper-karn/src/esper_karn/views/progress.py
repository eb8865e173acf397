"""Turns a run's state into what a screen shows; interfaces only render the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from esper_karn.state.reducer import rounds_worked
from esper_karn.state.run import Cursor, EnvironmentState, RunState
from esper_leyline import RoundSummary, RunStatus
from esper_leyline.events import RunStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What run this is; ``None`` where its log does not say."""

    run_id: str | None
    status: RunStatus
    command: str | None
    task: str | None
    device: str | None
    rounds: int | None
    environments: int | None
    max_epochs: int | None
    host_parameters: int | None
    policy_parameters: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        round: The round being worked on, or the last one of an ended run.
        epochs_done: Epochs of that round done, summed over hosts; likewise the total.
        share: Share of the run that is done; ``None`` if its length is unknown.
        mean_accuracy: Mean validation accuracy of that round's hosts now, in percent.
        elapsed: Seconds from the first event to the latest.
        eta: Seconds left at the present process's pace, as of the latest event;
            ``None`` before anything is done.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundLine:
    """One finished round: what it brought, and how the learner took it."""

    round: int
    rounds_total: int | None
    mean_return: float
    mean_accuracy: float | None
    best_accuracy: float | None
    germinated: int
    fossilized: int
    pruned: int
    rollbacks: int
    rollback_causes: Mapping[str, int]
    kl: float | None
    entropy: float | None
    skipped: str | None
    eta: float | None


def header(state: RunState) -> Header:
    """Selects the facts of a run."""
    started = state.facts.started
    return Header(
        run_id=state.run_id,
        status=state.status,
        command=started.command if started else None,
        task=started.config.task if started else None,
        device=started.config.device if started else None,
        rounds=started.config.n_episodes if started else None,
        environments=started.config.n_envs if started else None,
        max_epochs=started.config.max_epochs if started else None,
        host_parameters=started.host_parameters if started else None,
        policy_parameters=started.policy_parameters if started else None,
    )


def progress(state: RunState) -> Progress:
    """Selects how far a run is and when it should be done."""
    started = state.facts.started
    total = started.config.n_episodes if started else None
    current = [each for each in state.environments if each.round > state.facts.rounds_done]
    worked = rounds_worked(state)
    return Progress(
        rounds_done=state.facts.rounds_done,
        rounds_total=total,
        round=state.facts.rounds_done if state.ended else state.facts.rounds_done + 1,
        epochs_done=sum(_epochs(each, started) for each in current),
        epochs_total=started.config.n_envs * started.config.max_epochs if started else None,
        share=min(1.0, worked / total) if total else None,
        mean_accuracy=_mean_accuracy(current),
        elapsed=_elapsed(state.cursor),
        eta=_eta(state, worked, total),
    )


def round_line(state: RunState, summary: RoundSummary) -> RoundLine:
    """Selects one finished round, with the learner's figures where they belong to it."""
    update = state.update if state.update_round == summary.round else None
    return RoundLine(
        round=summary.round,
        rounds_total=state.facts.started.config.n_episodes if state.facts.started else None,
        mean_return=summary.mean_return,
        mean_accuracy=summary.mean_accuracy,
        best_accuracy=summary.best_accuracy,
        germinated=summary.germinated,
        fossilized=summary.fossilized,
        pruned=summary.pruned,
        rollbacks=summary.rollbacks,
        rollback_causes=summary.rollback_causes,
        kl=update.kl if update else None,
        entropy=update.entropy if update else None,
        skipped=update.skipped if update else None,
        eta=None if state.ended else progress(state).eta,
    )


def _epochs(environment: EnvironmentState, started: RunStarted | None) -> int:
    """Epochs an episode needs no more: those trained, or all once it has ended."""
    if environment.ended is not None and started is not None:
        return started.config.max_epochs
    return environment.epoch


def _mean_accuracy(environments: list[EnvironmentState]) -> float | None:
    values = [each.val_accuracy for each in environments if each.val_accuracy is not None]
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _elapsed(cursor: Cursor) -> float | None:
    if cursor.first_wall is None or cursor.last_wall is None:
        return None
    return cursor.last_wall - cursor.first_wall


def _eta(state: RunState, worked: float, total: int | None) -> float | None:
    done = worked - state.cursor.origin_rounds
    spent = state.cursor.now - state.cursor.origin
    if total is None or done <= 0 or state.ended:
        return None
    return max(0.0, total - worked) * spent / done
