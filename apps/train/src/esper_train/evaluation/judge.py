"""From episodes to figures: what each arm reached, and whether that beats the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from esper_simic.evaluation import Resampling, compare, estimate_iqm, estimate_mean
from esper_train.errors import TrainError
from esper_train.evaluation.results import (
    ArmComparison,
    ArmResult,
    Costs,
    EpisodeResult,
    Interval,
)

RESAMPLING = Resampling()

BIRTH_TOLERANCE = 0.5
"""Points by which the accuracy of the same newborn host may differ."""


def sum_up(
    name: str, label: str, episodes: Sequence[EpisodeResult], wall_seconds: float
) -> ArmResult:
    """Returns what an arm's episodes come to."""
    return ArmResult(
        name=name,
        label=label,
        accuracy=Interval.of(estimate_mean(_accuracies(episodes), RESAMPLING.confidence)),
        accuracy_iqm=Interval.of(estimate_iqm(_accuracies(episodes), RESAMPLING)),
        costs=Costs(
            parameters=fmean(episode.parameters for episode in episodes),
            forward_flops=fmean(episode.forward_flops for episode in episodes),
            train_flops=fmean(episode.train_flops for episode in episodes),
            validation_flops=fmean(episode.validation_flops for episode in episodes),
            total_flops=fmean(episode.total_flops for episode in episodes),
            seconds=fmean(episode.seconds for episode in episodes),
        ),
        wall_seconds=wall_seconds,
        episodes=tuple(episodes),
    )


def compare_arms(arms: Sequence[ArmResult], baseline: str) -> tuple[ArmComparison, ...]:
    """Compares every arm with the baseline, seed by seed.

    Raises:
        TrainError: If the arms did not meet the same hosts.
    """
    (other,) = [arm for arm in arms if arm.label == baseline]
    return tuple(_compare(arm, other) for arm in arms if arm.label != baseline)


def _compare(arm: ArmResult, baseline: ArmResult) -> ArmComparison:
    _check_paired(arm, baseline)
    compared = compare(
        _accuracies(arm.episodes),
        _accuracies(baseline.episodes),
        names=(arm.label, baseline.label),
        resampling=RESAMPLING,
    )
    return ArmComparison(
        arm=compared.first,
        baseline=compared.second,
        pairs=compared.pairs,
        least_pairs=compared.least_pairs,
        difference=Interval.of(compared.difference),
        iqm_difference=Interval.of(compared.iqm_difference),
        win_rate=Interval.of(compared.win_rate),
        verdict=compared.verdict,
    )


def _check_paired(arm: ArmResult, baseline: ArmResult) -> None:
    """Makes sure that pairs are pairs: the same seed has to have been the same host."""
    for mine, theirs in zip(arm.episodes, baseline.episodes, strict=True):
        born = (mine.seed, mine.newborn_accuracy), (theirs.seed, theirs.newborn_accuracy)
        # A GPU may round differently from one pass to the next.
        alike = math.isclose(born[0][1], born[1][1], abs_tol=BIRTH_TOLERANCE)
        if mine.seed != theirs.seed or not alike:
            raise TrainError(
                f"arms '{arm.label}' and '{baseline.label}' met different hosts (seed and "
                f"accuracy at birth: {born[0]} and {born[1]}), so they cannot be compared; this "
                "is a defect of the environment"
            )


def _accuracies(episodes: Sequence[EpisodeResult]) -> list[float]:
    return [episode.test_accuracy for episode in episodes]
