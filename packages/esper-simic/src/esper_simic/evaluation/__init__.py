"""Evaluation of ways to grow networks: paired statistics, and controllers on unseen hosts.

``compare`` judges paired scores: intervals of the mean difference and of the win rate that hold
for few pairs, and a verdict. ``compare_controllers`` first plays two controllers on the same hosts
of an environment. After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice": interquartile means with stratified bootstrap intervals, and the
probability of improvement, which is unpaired.
"""

from esper_leyline.estimates import Estimate
from esper_simic.evaluation.arms import compare_arms, compare_controllers, summarize_arm
from esper_simic.evaluation.flops import FlopCounter, GrownHostFactory
from esper_simic.evaluation.host_seeds import RANGE_SIZE, SeedRange, evaluation_seeds
from esper_simic.evaluation.play import ControllerFactory, play_arm
from esper_simic.evaluation.results import (
    ActionSelection,
    ArmResult,
    Budget,
    Costs,
    EpisodeResult,
    EvaluationResults,
    GrownSeed,
    TrainingBill,
)
from esper_simic.evaluation.statistics.bootstrap import (
    Resampling,
    estimate_improvement,
    estimate_iqm,
)
from esper_simic.evaluation.statistics.comparison import LEAST_PAIRS, Comparison, Verdict, compare
from esper_simic.evaluation.statistics.intervals import estimate_mean, estimate_win_rate
from esper_simic.evaluation.statistics.scores import (
    interquartile_mean,
    probability_of_improvement,
)

__all__ = [
    "LEAST_PAIRS",
    "RANGE_SIZE",
    "ActionSelection",
    "ArmResult",
    "Budget",
    "Comparison",
    "ControllerFactory",
    "Costs",
    "EpisodeResult",
    "Estimate",
    "EvaluationResults",
    "FlopCounter",
    "GrownHostFactory",
    "GrownSeed",
    "Resampling",
    "SeedRange",
    "TrainingBill",
    "Verdict",
    "compare",
    "compare_arms",
    "compare_controllers",
    "estimate_improvement",
    "estimate_iqm",
    "estimate_mean",
    "estimate_win_rate",
    "evaluation_seeds",
    "interquartile_mean",
    "play_arm",
    "probability_of_improvement",
    "summarize_arm",
]
