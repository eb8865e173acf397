"""Compares runs of one task: their configurations, curves, sizes and paired episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from esper_karn.analytics.curves import CurveSummary, Point, summarize_curve
from esper_karn.analytics.database import RunsDatabase
from esper_karn.analytics.pairing import Outcome, PairedDifferences, pair_runs
from esper_karn.errors import KarnError, first_problem
from esper_leyline import TrainingConfig
from esper_leyline.config.overrides import flatten_config


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDifference:
    """A key of the configuration that is not the same in all runs.

    Attributes:
        key: With dots, such as ``ppo.clip``.
        values: One per run; ``None`` also where a run has no such key.
    """

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run in a comparison; ``None`` where its log does not say.

    Attributes:
        status: As in a list of runs.
        rounds: Finished rounds.
        accuracy: Mean final validation accuracy of a round's hosts, in percent.
        mean_return: Mean return of a round's episodes.
        test_accuracy: Of the last round's hosts, mean in percent.
        seconds: Wall time of all its processes; ``None`` before its end.
        host_parameters: Of a host without seeds.
        grown_parameters: Of fossilized seeds, mean over the last round's hosts.
        policy_parameters: Of the policy; ``None`` without one.
        fossilized: Seeds fossilized in all rounds.
        fossilized_per_host: The same divided by the number of hosts.
    """

    run: str
    status: str | None
    rounds: int
    accuracy: CurveSummary
    mean_return: CurveSummary
    test_accuracy: float | None
    seconds: float | None
    host_parameters: int | None
    grown_parameters: float | None
    policy_parameters: int | None
    fossilized: int
    fossilized_per_host: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Runs side by side, in the order in which they were named.

    Attributes:
        area_rounds: The rounds over which areas are taken: those that every run has finished;
            0 if one of them has finished none.
        differences: Keys of the configuration that differ.
        paired: Each other run against the first one; without runs that share no host with it.
    """

    task: str
    area_rounds: int
    runs: tuple[ComparedRun, ...]
    differences: tuple[ConfigDifference, ...]
    paired: tuple[PairedDifferences, ...]


_RUNS = """
SELECT r.run, r.task, r.status, r.rounds, r.seconds, r.host_parameters, r.policy_parameters,
    CAST(r.config AS VARCHAR) AS config, s.fossilized, s.episodes, s.grown_parameters,
    t.test_accuracy
FROM runs r LEFT JOIN (
    SELECT run, sum(fossilized) AS fossilized, sum(episodes) AS episodes,
        arg_max(grown_parameters, round) AS grown_parameters
    FROM rounds GROUP BY run
) s USING (run) LEFT JOIN (
    SELECT run, avg(test_accuracy) AS test_accuracy FROM tests
    WHERE (run, round) IN (SELECT (run, max(round)) FROM tests GROUP BY run) GROUP BY run
) t USING (run)
"""


def compare_runs(database: RunsDatabase) -> RunComparison:
    """Compares all runs of a database; the first one is the baseline of paired differences.

    Raises:
        KarnError: If there are fewer than two, or they trained different tasks.
    """
    names = [run.name for run in database.runs]
    if len(names) < 2:
        raise KarnError("one run cannot be compared; name two or more")
    facts = {row["run"]: row for row in database.records(_RUNS)}
    task = one_task({name: facts[name]["task"] for name in names})
    curves = _curves(database)
    area_rounds = min(facts[name]["rounds"] for name in names)
    outcomes = _outcomes(database)
    first, *others = names
    paired = [
        pair_runs((other, outcomes.get(other, [])), (first, outcomes.get(first, [])))
        for other in others
    ]
    return RunComparison(
        task=task,
        area_rounds=area_rounds,
        runs=tuple(
            _compared(facts[name], curves.get(name, _Curves()), area_rounds) for name in names
        ),
        differences=config_differences([_config(name, facts[name]["config"]) for name in names]),
        paired=tuple(each for each in paired if each.accuracy or each.episode_return),
    )


def one_task(tasks: Mapping[str, str | None]) -> str:
    """Returns the task that all runs trained.

    Args:
        tasks: By run; ``None`` where a log does not say.

    Raises:
        KarnError: If there are several, or a log names none.
    """
    for run, task in tasks.items():
        if task is None:
            raise KarnError(f"the log of run '{run}' has no run_started, so its task is not known")
    (first, task), *others = tasks.items()
    for run, other in others:
        if other != task:
            raise KarnError(
                f"run '{first}' trained {task} and run '{run}' trained {other}; "
                "name runs of one task"
            )
    assert task is not None
    return task


def config_differences(configs: Sequence[Mapping[str, Any]]) -> tuple[ConfigDifference, ...]:
    """Returns the keys that are not the same in all configurations.

    Args:
        configs: Nested values, as in ``config.json``.
    """
    flat = [flatten_config(config) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    found = (
        ConfigDifference(key=key, values=tuple(config.get(key) for config in flat)) for key in keys
    )
    return tuple(each for each in found if any(value != each.values[0] for value in each.values))


def _config(run: str, text: str) -> dict[str, Any]:
    """Returns a run's configuration, with the defaults that its log may leave out."""
    try:
        return TrainingConfig.model_validate_json(text).model_dump(mode="json")
    except ValidationError as error:
        raise KarnError(
            f"the configuration in the log of run '{run}' is damaged: {first_problem(error)}"
        ) from None


@dataclass(frozen=True, slots=True)
class _Curves:
    accuracy: Sequence[Point] = ()
    mean_return: Sequence[Point] = ()


def _curves(database: RunsDatabase) -> dict[str, _Curves]:
    found: dict[str, tuple[list[Point], list[Point]]] = {}
    for run, number, accuracy, mean_return in database.query(
        "SELECT run, round, mean_accuracy, mean_return FROM rounds ORDER BY run, round"
    ).rows:
        accuracies, returns = found.setdefault(run, ([], []))
        accuracies.append((number, accuracy))
        returns.append((number, mean_return))
    return {run: _Curves(*each) for run, each in found.items()}


def _outcomes(database: RunsDatabase) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for run, seed, accuracy, episode_return in database.query(
        "SELECT run, rng_seed, val_accuracy, episode_return FROM outcomes"
    ).rows:
        found.setdefault(run, []).append(
            Outcome(rng_seed=seed, accuracy=accuracy, episode_return=episode_return)
        )
    return found


def _compared(row: Mapping[str, Any], curves: _Curves, area_rounds: int) -> ComparedRun:
    fossilized, hosts = row["fossilized"] or 0, row["episodes"] or 0
    return ComparedRun(
        run=row["run"],
        status=row["status"],
        rounds=row["rounds"],
        accuracy=summarize_curve(curves.accuracy, area_rounds),
        mean_return=summarize_curve(curves.mean_return, area_rounds),
        test_accuracy=row["test_accuracy"],
        seconds=row["seconds"],
        host_parameters=row["host_parameters"],
        grown_parameters=row["grown_parameters"],
        policy_parameters=row["policy_parameters"],
        fossilized=int(fossilized),
        fossilized_per_host=fossilized / hosts if hosts else None,
    )
