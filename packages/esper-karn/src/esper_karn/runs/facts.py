"""Reads what a comparison needs of a run from its log, and what is added to it later."""

from __future__ import annotations

import time
from pathlib import Path

from esper_karn.comparison.facts import RoundFacts, RunFacts
from esper_karn.comparison.pairing import Outcome
from esper_karn.log.reader import EventReader
from esper_karn.runs.folder import resolve_log
from esper_karn.runs.records import peek
from esper_leyline import RunStatus
from esper_leyline.events import (
    EnvironmentBuilt,
    EpisodeOutcome,
    Event,
    RoundCompleted,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    TestEvaluated,
)

_KINDS = frozenset(
    {
        "run_started",
        "run_resumed",
        "run_completed",
        "run_failed",
        "environment_built",
        "round_completed",
        "episode_outcome",
        "test_evaluated",
    }
)


class FactsReader:
    """Follows a run for comparisons. Only the kinds of event that they need are parsed.

    Args:
        run_directory: The run.

    Raises:
        KarnError: If it is no run directory.
    """

    def __init__(self, run_directory: Path) -> None:
        self._directory = run_directory
        self._reader = EventReader(resolve_log(run_directory), kinds=_KINDS)
        self._restarts = 0
        self._draft = _Draft()

    def close(self) -> None:
        """Closes the log."""
        self._reader.close()

    def read(self) -> RunFacts:
        """Reads what was added to the log; returns the facts.

        Raises:
            KarnError: If the log cannot be read.
        """
        for event in self._reader.read():
            self._start_again_if_replaced()
            self._draft.take(event)
        self._start_again_if_replaced()
        return self._draft.facts(self._directory)

    def _start_again_if_replaced(self) -> None:
        if self._reader.restarts != self._restarts:
            self._restarts = self._reader.restarts
            self._draft = _Draft()


class _Draft:
    """The facts of the events so far."""

    def __init__(self) -> None:
        self._sequence = -1
        self._started: RunStarted | None = None
        self._built: EnvironmentBuilt | None = None
        self._end: RunCompleted | RunFailed | None = None
        self._rounds: dict[int, RoundFacts] = {}
        self._outcomes: list[tuple[int, Outcome]] = []
        self._tests: list[tuple[int, float]] = []

    def take(self, event: Event) -> None:
        """Adds an event; one that was seen before changes nothing."""
        if event.sequence <= self._sequence:
            return
        self._sequence, number = event.sequence, event.round or 0
        match event.payload:
            case RunStarted() as started:
                self._started, self._end = started, None
            case RunResumed(rounds_completed=done):
                self._rewind(done)
            case EnvironmentBuilt() as built:
                self._built = built
            case RoundCompleted() as completed:
                self._rounds[number] = _round_facts(number, completed)
            case EpisodeOutcome() as outcome:
                self._outcomes.append((number, _outcome(outcome)))
            case TestEvaluated(result=result):
                self._tests.append((number, result.test_accuracy))
            case RunCompleted() | RunFailed() as end:
                self._end = end

    def facts(self, directory: Path) -> RunFacts:
        """Returns the facts; a run without an end has the status of a list of runs."""
        end, built = self._end, self._built
        return RunFacts(
            name=directory.absolute().name,
            config=self._started.config if self._started else None,
            status=_status(end) if end else peek(directory).status_text(time.time()),
            rounds=tuple(self._rounds[number] for number in sorted(self._rounds)),
            outcomes=tuple(outcome for _, outcome in self._outcomes),
            tests=tuple(self._tests),
            seconds=end.seconds if end else None,
            host_parameters=built.host_parameters if built else None,
            policy_parameters=built.policy_parameters if built else None,
        )

    def _rewind(self, done: int) -> None:
        """Drops the rounds that a resumed run trains again."""
        self._end = None
        self._rounds = {number: each for number, each in self._rounds.items() if number <= done}
        self._outcomes = [each for each in self._outcomes if each[0] <= done]
        self._tests = [each for each in self._tests if each[0] <= done]


def _status(end: RunCompleted | RunFailed) -> str:
    return str(end.status if isinstance(end, RunCompleted) else RunStatus.FAILED)


def _round_facts(number: int, completed: RoundCompleted) -> RoundFacts:
    summary = completed.summary
    return RoundFacts(
        round=number,
        accuracy=summary.mean_accuracy,
        mean_return=summary.mean_return,
        fossilized=summary.fossilized,
        episodes=summary.episodes,
        grown_parameters=summary.grown_parameters,
    )


def _outcome(outcome: EpisodeOutcome) -> Outcome:
    return Outcome(
        rng_seed=outcome.rng_seed,
        accuracy=outcome.host.val_accuracy,
        episode_return=outcome.episode_return,
    )
