"""Whether one way of growing networks is better than another: paired statistics in numpy.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice": interquartile means, stratified bootstrap intervals, probability of improvement.
"""

from esper_simic.evaluation.bootstrap import (
    Estimate,
    Resampling,
    estimate_improvement,
    estimate_iqm,
)
from esper_simic.evaluation.comparison import Comparison, Verdict, compare
from esper_simic.evaluation.scores import interquartile_mean, probability_of_improvement
from esper_simic.evaluation.seeds import evaluation_seeds

__all__ = [
    "Comparison",
    "Estimate",
    "Resampling",
    "Verdict",
    "compare",
    "estimate_improvement",
    "estimate_iqm",
    "evaluation_seeds",
    "interquartile_mean",
    "probability_of_improvement",
]
