"""Whether one way of growing networks is better than another: paired statistics.

Means of paired differences with intervals that hold at few pairs, and paired win rates.
Beside them, after Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice": interquartile means, stratified bootstrap intervals, and the
probability of improvement, which is unpaired.
"""

from esper_simic.evaluation.bootstrap import (
    Estimate,
    Resampling,
    estimate_improvement,
    estimate_iqm,
)
from esper_simic.evaluation.comparison import LEAST_PAIRS, Comparison, Verdict, compare
from esper_simic.evaluation.intervals import estimate_mean, estimate_win_rate
from esper_simic.evaluation.scores import interquartile_mean, probability_of_improvement
from esper_simic.evaluation.seeds import RANGE_SIZE, SeedRange, evaluation_seeds

__all__ = [
    "LEAST_PAIRS",
    "RANGE_SIZE",
    "Comparison",
    "Estimate",
    "Resampling",
    "SeedRange",
    "Verdict",
    "compare",
    "estimate_improvement",
    "estimate_iqm",
    "estimate_mean",
    "estimate_win_rate",
    "evaluation_seeds",
    "interquartile_mean",
    "probability_of_improvement",
]
