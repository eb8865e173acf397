"""Compares runs of a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from esper_karn.analytics.database import RunsDatabase
from esper_karn.comparison.comparison import RunComparison, compare
from esper_karn.comparison.facts import RoundFacts, RunFacts
from esper_karn.comparison.pairing import Outcome
from esper_karn.errors import KarnError, first_problem
from esper_leyline import TrainingConfig


def compare_runs(database: RunsDatabase) -> RunComparison:
    """Compares all runs of a database; the first one is the baseline of paired differences.

    Raises:
        KarnError: If there are fewer than two, or they trained different tasks.
    """
    return compare(list(read_facts(database)))


def read_facts(database: RunsDatabase) -> Iterator[RunFacts]:
    """Yields what a comparison needs of each run, in the order in which they were named.

    Raises:
        KarnError: If a configuration in a log is damaged.
    """
    runs = {
        row["run"]: row
        for row in database.records(
            "SELECT run, status, seconds, host_parameters, policy_parameters, "
            "CAST(config AS VARCHAR) AS config FROM runs"
        )
    }
    rounds = _by_run(
        database,
        "SELECT run, round, mean_accuracy, mean_return, fossilized, episodes, grown_parameters "
        "FROM rounds ORDER BY run, round",
    )
    outcomes = _by_run(database, "SELECT run, rng_seed, val_accuracy, episode_return FROM outcomes")
    tests = _by_run(database, "SELECT run, round, test_accuracy FROM tests ORDER BY sequence")
    for name in (run.name for run in database.runs):
        row = runs[name]
        yield RunFacts(
            name=name,
            config=_config(name, row),
            status=row["status"],
            rounds=tuple(
                RoundFacts(
                    round=number,
                    accuracy=accuracy,
                    mean_return=mean_return,
                    fossilized=fossilized,
                    episodes=episodes,
                    grown_parameters=grown,
                )
                for number, accuracy, mean_return, fossilized, episodes, grown in rounds.get(
                    name, ()
                )
            ),
            outcomes=tuple(
                Outcome(rng_seed=seed, accuracy=accuracy, episode_return=episode_return)
                for seed, accuracy, episode_return in outcomes.get(name, ())
            ),
            tests=tuple((number, accuracy) for number, accuracy in tests.get(name, ())),
            seconds=row["seconds"],
            host_parameters=row["host_parameters"],
            policy_parameters=row["policy_parameters"],
        )


def _by_run(database: RunsDatabase, query: str) -> dict[str, list[tuple[Any, ...]]]:
    """Returns the rows of an answer by their first column."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for run, *rest in database.query(query).rows:
        found.setdefault(run, []).append(tuple(rest))
    return found


def _config(run: str, row: Mapping[str, Any]) -> TrainingConfig | None:
    """Returns a run's configuration, with the defaults that its log may leave out."""
    if row["config"] is None:
        return None
    try:
        return TrainingConfig.model_validate_json(row["config"])
    except ValidationError as error:
        raise KarnError(
            f"the configuration in the log of run '{run}' is damaged: {first_problem(error)}"
        ) from None
