"""Reinforcement learning of Esper: rewards, rollouts and recurrent PPO."""

from esper_simic.controllers import run_controllers
from esper_simic.errors import SimicError, SkippedUpdatesError
from esper_simic.ppo.actor import PolicyActor
from esper_simic.ppo.anomalies import (
    Anomaly,
    AnomalyThresholds,
    detect_anomalies,
    least_entropy,
    thresholds_for,
)
from esper_simic.ppo.minibatches import check_shares
from esper_simic.ppo.normalizers import RewardScaler, RunningMoments, Units, ValueNormalizer
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.ppo.ppo import PPOUpdater
from esper_simic.ppo.returns import discounted_sums, gae, lambda_returns
from esper_simic.recorder import RoundRecorder
from esper_simic.rewards import REWARDS, ComposedReward, build_reward
from esper_simic.rollout.actor import Choice, ControllerDecider, Decider
from esper_simic.rollout.collect import RunOutcome, action_seed, episode_seeds, play_round
from esper_simic.rollout.storage import Rollout, RolloutBuffer
from esper_simic.runner import MOST_SKIPS, PPOTrainer

__all__ = [
    "MOST_SKIPS",
    "REWARDS",
    "Anomaly",
    "AnomalyThresholds",
    "Choice",
    "ComposedReward",
    "ControllerDecider",
    "Decider",
    "PPOTrainer",
    "PPOUpdater",
    "PolicyActor",
    "RewardScaler",
    "Rollout",
    "RolloutBuffer",
    "RoundRecorder",
    "RunOutcome",
    "RunningMoments",
    "SimicError",
    "SkippedUpdatesError",
    "TrainablePolicy",
    "Units",
    "ValueNormalizer",
    "action_seed",
    "build_reward",
    "check_shares",
    "detect_anomalies",
    "discounted_sums",
    "episode_seeds",
    "gae",
    "lambda_returns",
    "least_entropy",
    "play_round",
    "run_controllers",
    "thresholds_for",
]
