"""Scores of runs, and two figures of them: interquartile mean, probability of improvement.

Scores are [runs] or [runs, tasks], higher being better. Runs of one task are exchangeable;
tasks are the strata within which they are resampled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esper_simic.errors import SimicError

TRIM = 0.25
"""Share of the scores left out at either end."""


def interquartile_mean(scores: ArrayLike) -> float:
    """Returns the mean of the middle half of all scores, tasks and runs together.

    A quarter of them, rounded down, is left out at either end.

    Args:
        scores: [runs] or [runs, tasks].

    Raises:
        SimicError: If there are none, or one is not finite.
    """
    return float(trimmed_mean(read_scores(scores).reshape(-1)))


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> float:
    """Returns how likely a run of the first arm beats one of the second, a tie being half.

    Every run of one arm is compared with every run of the other on the same task (the
    Mann-Whitney statistic); tasks count alike.

    Args:
        first: [runs] or [runs, tasks].
        second: The same; the number of runs may differ.

    Raises:
        SimicError: If scores are missing, not finite, or of different tasks.
    """
    return float(wins(read_scores(first), read_scores(second)).mean())


def read_scores(scores: ArrayLike, name: str = "scores") -> NDArray[np.float64]:
    """Returns scores as [runs, tasks], checked.

    Raises:
        SimicError: If there are none, or one is not finite.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.size == 0:
        raise SimicError(
            f"{name} have the shape {np.shape(scores)}; give [runs] or [runs, tasks], at least one"
        )
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        run, task = bad[0]
        raise SimicError(
            f"{name} of run {run}, task {task} are {array[run, task]}; score runs that failed, "
            "or leave them out of both arms"
        )
    return array


def trimmed_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of the middle half of the last axis: [..., scores] to [...]."""
    # scipy.stats.trim_mean sums the same scores in another order, which moves the last bit.
    ordered = np.sort(scores, axis=-1)
    cut = int(TRIM * ordered.shape[-1])
    means: NDArray[np.float64] = ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)
    return means


def wins(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns [tasks, first's runs, second's runs]: 1 where the first is higher, 0.5 for a tie.

    Raises:
        SimicError: If the arms were not scored on the same number of tasks.
    """
    if first.shape[1] != second.shape[1]:
        raise SimicError(
            f"{first.shape[1]} and {second.shape[1]} tasks; score both arms on the same tasks"
        )
    mine, theirs = first.T[:, :, np.newaxis], second.T[:, np.newaxis, :]
    won: NDArray[np.float64] = (mine > theirs) + 0.5 * (mine == theirs)
    return won
