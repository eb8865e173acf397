"""Reinforcement learning of Esper: rewards, rollouts and recurrent PPO."""

from esper_simic.errors import SimicError, SkippedUpdatesError
from esper_simic.ppo.actor import PolicyActor
from esper_simic.ppo.anomalies import (
    Anomaly,
    AnomalyThresholds,
    detect_anomalies,
    thresholds_for,
)
from esper_simic.ppo.batch import check_minibatches
from esper_simic.ppo.normalizers import (
    ReturnScale,
    RewardScaler,
    RunningMoments,
    ValueNormalizer,
)
from esper_simic.ppo.policy import TrainableHostPolicy, TrainablePolicy
from esper_simic.ppo.ppo import PPO
from esper_simic.ppo.returns import discounted_sums, gae, lambda_returns
from esper_simic.recorder import RoundRecorder
from esper_simic.rewards import REWARDS, ComposedReward, build_reward, reward_modes
from esper_simic.rollout.actor import Actor, ActorStep, ControllerActor
from esper_simic.rollout.collect import action_seed, collect_round, episode_seeds
from esper_simic.rollout.storage import Rollout, RolloutStorage
from esper_simic.runner.controllers import run_controllers
from esper_simic.runner.outcome import RunOutcome
from esper_simic.runner.ppo import MOST_SKIPS, PPORunner
from esper_simic.vector.policy import MultiDiscretePolicy
from esper_simic.vector.runner import VectorRound, VectorRunner

__all__ = [
    "MOST_SKIPS",
    "PPO",
    "REWARDS",
    "Actor",
    "ActorStep",
    "Anomaly",
    "AnomalyThresholds",
    "ComposedReward",
    "ControllerActor",
    "MultiDiscretePolicy",
    "PPORunner",
    "PolicyActor",
    "ReturnScale",
    "RewardScaler",
    "Rollout",
    "RolloutStorage",
    "RoundRecorder",
    "RunOutcome",
    "RunningMoments",
    "SimicError",
    "SkippedUpdatesError",
    "TrainableHostPolicy",
    "TrainablePolicy",
    "ValueNormalizer",
    "VectorRound",
    "VectorRunner",
    "action_seed",
    "build_reward",
    "check_minibatches",
    "collect_round",
    "detect_anomalies",
    "discounted_sums",
    "episode_seeds",
    "gae",
    "lambda_returns",
    "reward_modes",
    "run_controllers",
    "thresholds_for",
]
