"""Compares runs of one task: their configurations, curves, sizes and paired episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esper_karn.comparison.curves import CurveSummary, finite, mean_of, summarize_curve
from esper_karn.comparison.facts import RunFacts
from esper_karn.comparison.pairing import PairedRun, pair_runs
from esper_karn.errors import KarnError
from esper_leyline.config.overrides import flatten_config
from esper_leyline.wire import WIRE_CONFIG, Float


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
    test_accuracy: Float | None
    seconds: Float | None
    host_parameters: int | None
    grown_parameters: Float | None
    policy_parameters: int | None
    fossilized: int
    fossilized_per_host: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Runs side by side, in the order in which they were named.

    Attributes:
        area_rounds: The rounds over which areas are taken: those that every run has finished;
            0 if one of them has finished none.
        differences: Keys of the configuration that differ.
        paired: Each other run against the first one; without runs that share no host with it.
    """

    __pydantic_config__ = WIRE_CONFIG

    task: str
    area_rounds: int
    runs: tuple[ComparedRun, ...]
    differences: tuple[ConfigDifference, ...]
    paired: tuple[PairedRun, ...]


def compare(runs: Sequence[RunFacts]) -> RunComparison:
    """Compares runs; the first one is the baseline of paired differences.

    Raises:
        KarnError: If there are fewer than two, or they trained different tasks.
    """
    if len(runs) < 2:
        raise KarnError("one run cannot be compared; name two or more")
    task = one_task({run.name: run.config.task if run.config else None for run in runs})
    area_rounds = min(run.rounds_done for run in runs)
    first, *others = runs
    paired = [
        pair_runs((other.name, other.outcomes), (first.name, first.outcomes)) for other in others
    ]
    configs = [run.config.model_dump(mode="json") for run in runs if run.config]
    return RunComparison(
        task=task,
        area_rounds=area_rounds,
        runs=tuple(_compared(run, area_rounds) for run in runs),
        differences=config_differences(configs),
        paired=tuple(each for each in paired if each.accuracy.hosts or each.episode_return.hosts),
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


def _compared(run: RunFacts, area_rounds: int) -> ComparedRun:
    rounds = run.rounds
    fossilized = sum(each.fossilized for each in rounds)
    hosts = sum(each.episodes for each in rounds)
    tested = max((number for number, _ in run.tests), default=None)
    tests = [value for number, value in finite(run.tests) if number == tested]
    return ComparedRun(
        run=run.name,
        status=run.status,
        rounds=run.rounds_done,
        accuracy=summarize_curve([(each.round, each.accuracy) for each in rounds], area_rounds),
        mean_return=summarize_curve(
            [(each.round, each.mean_return) for each in rounds], area_rounds
        ),
        test_accuracy=mean_of(tests) if tests else None,
        seconds=run.seconds,
        host_parameters=run.host_parameters,
        grown_parameters=rounds[-1].grown_parameters if rounds else None,
        policy_parameters=run.policy_parameters,
        fossilized=fossilized,
        fossilized_per_host=fossilized / hosts if hosts else None,
    )
