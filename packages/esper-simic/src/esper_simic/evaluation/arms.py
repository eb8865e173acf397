"""Summarizes the episodes of an arm, and compares arms with a baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from time import perf_counter

from esper_leyline import Environment
from esper_simic.errors import SimicError
from esper_simic.evaluation.play import ControllerFactory, play_arm
from esper_simic.evaluation.results import ArmResult, Costs, EpisodeResult
from esper_simic.evaluation.statistics.bootstrap import Resampling, estimate_iqm
from esper_simic.evaluation.statistics.comparison import Comparison, compare
from esper_simic.evaluation.statistics.intervals import estimate_mean

START_TOLERANCE = 0.5
"""Points by which the test accuracy of an untrained host may differ between arms."""


def compare_controllers(
    environment: Environment,
    first: ControllerFactory,
    second: ControllerFactory,
    *,
    rng_seeds: Sequence[int],
    names: tuple[str, str] = ("first", "second"),
    resampling: Resampling | None = None,
) -> Comparison:
    """Plays two controllers on the same hosts, and compares the test accuracies.

    Args:
        environment: Trains the hosts; equal random seeds must give equal hosts.
        first: Builds a controller for one host.
        second: The same; the baseline.
        rng_seeds: Random seeds of the hosts, such as those of ``evaluation_seeds``. An episode
            is played for each, as many side by side as the environment has room for.
        names: Names of the arms.
        resampling: As for ``compare``.

    Raises:
        SimicError: If the environment reports no test accuracy, or its hosts differ between
            the arms.
    """
    arms = []
    for name, build in zip(names, (first, second), strict=True):
        started = perf_counter()
        episodes = play_arm(environment, build, rng_seeds)
        assert episodes is not None, "nothing stops it"
        arms.append(summarize_arm(name, name, episodes, perf_counter() - started))
    (comparison,) = compare_arms(arms, names[1], resampling)
    return comparison


def summarize_arm(
    name: str,
    label: str,
    episodes: Sequence[EpisodeResult],
    wall_seconds: float,
    resampling: Resampling | None = None,
) -> ArmResult:
    """Returns means and intervals over an arm's episodes.

    Args:
        name: Name of the arm.
        label: A short name, unique among the arms of a comparison.
        episodes: At least one.
        wall_seconds: Time that all of them took.
        resampling: As for ``compare``.
    """
    resampling = resampling or Resampling()
    accuracies = _accuracies(episodes)
    return ArmResult(
        name=name,
        label=label,
        accuracy=estimate_mean(accuracies, resampling.confidence),
        accuracy_iqm=estimate_iqm(accuracies, resampling),
        costs=Costs(
            parameters=fmean(episode.parameters for episode in episodes),
            forward_flops=_mean_flops(episodes, lambda episode: episode.forward_flops),
            train_flops=_mean_flops(episodes, lambda episode: episode.train_flops),
            validation_flops=_mean_flops(episodes, lambda episode: episode.validation_flops),
            total_flops=_mean_flops(episodes, lambda episode: episode.total_flops),
            seconds=fmean(episode.seconds for episode in episodes),
        ),
        wall_seconds=wall_seconds,
        episodes=tuple(episodes),
    )


def compare_arms(
    arms: Sequence[ArmResult], baseline: str, resampling: Resampling | None = None
) -> tuple[Comparison, ...]:
    """Compares every arm with the baseline, host by host.

    Args:
        arms: Each with one episode for each seed, in the same order.
        baseline: Label of the arm that the others are compared with.
        resampling: As for ``compare``.

    Raises:
        SimicError: If the arms did not start from the same hosts.
    """
    (other,) = [arm for arm in arms if arm.label == baseline]
    return tuple(
        _compare(arm, other, resampling or Resampling()) for arm in arms if arm.label != baseline
    )


def _compare(arm: ArmResult, baseline: ArmResult, resampling: Resampling) -> Comparison:
    _check_same_hosts(arm, baseline)
    return compare(
        _accuracies(arm.episodes),
        _accuracies(baseline.episodes),
        names=(arm.label, baseline.label),
        resampling=resampling,
    )


def _check_same_hosts(arm: ArmResult, baseline: ArmResult) -> None:
    """Checks that the n-th episodes of both arms started from the same host."""
    for mine, theirs in zip(arm.episodes, baseline.episodes, strict=True):
        starts = (mine.rng_seed, mine.newborn_accuracy), (theirs.rng_seed, theirs.newborn_accuracy)
        # A GPU may round differently from one pass to the next.
        alike = math.isclose(starts[0][1], starts[1][1], abs_tol=START_TOLERANCE)
        if mine.rng_seed != theirs.rng_seed or not alike:
            raise SimicError(
                f"arms '{arm.label}' and '{baseline.label}' started from different hosts "
                f"(seed and accuracy before training: {starts[0]} and {starts[1]}), so they cannot "
                "be compared; this is a defect of the environment"
            )


def _accuracies(episodes: Sequence[EpisodeResult]) -> list[float]:
    return [episode.test_accuracy for episode in episodes]


def _mean_flops(
    episodes: Sequence[EpisodeResult], read: Callable[[EpisodeResult], int | None]
) -> float | None:
    counted = [flops for flops in map(read, episodes) if flops is not None]
    return fmean(counted) if len(counted) == len(episodes) else None
