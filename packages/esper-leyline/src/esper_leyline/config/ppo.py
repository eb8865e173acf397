"""How a policy is trained by PPO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esper_leyline.ranges import (
    MOST_HEADS,
    Environments,
    Episodes,
    Epochs,
    LearningRate,
    Name,
    Positive,
    Share,
    Weight,
)
from esper_leyline.wire import Settings


class PPOConfig(Settings):
    """Proximal policy optimisation over recurrent episodes (Schulman et al. 2017)."""

    epochs: int = Field(default=1, ge=1, le=1000, description="Passes over each round's rollout.")
    minibatches: Environments = Field(
        default=1,
        description="Optimizer steps in each pass, each on its share of the environments.",
    )
    gamma: Share = Field(default=0.995, description="Discount factor.")
    gae_lambda: Share = Field(
        default=0.98, description="Lambda of generalized advantage estimation."
    )
    clip: float = Field(default=0.2, gt=0, lt=1, description="Clip range of the probability ratio.")
    learning_rate: LearningRate = Field(default=3e-4, description="Learning rate of Adam.")
    learning_rate_final: float | None = Field(
        default=None, ge=0, le=10, description="Learning rate after annealing. None: no annealing."
    )
    learning_rate_anneal_episodes: Episodes = Field(
        default=0,
        description="Episodes over which the learning rate is annealed linearly; 0: none.",
    )
    adam_eps: float = Field(default=1e-5, gt=0, le=1, description="Epsilon of Adam.")
    max_grad_norm: Positive = Field(
        default=5.0, description="Norm that the policy's gradient is clipped to."
    )
    value_coefficient: Weight = Field(default=0.5, description="Weight of the value loss.")
    entropy_coefficient: Weight = Field(default=0.05, description="Weight of the entropy bonus.")
    entropy_final: Weight | None = Field(
        default=None, description="Weight of the entropy bonus after annealing. None: no annealing."
    )
    entropy_anneal_episodes: Episodes = Field(
        default=0,
        description="Episodes over which the entropy bonus is annealed linearly; 0: none.",
    )
    entropy_multipliers: dict[Name, Weight] = Field(
        default_factory=dict,
        max_length=MOST_HEADS,
        description="Factors of the entropy bonus by head.",
    )
    target_kl: float | None = Field(
        default=0.05,
        gt=0,
        le=1e6,
        description="Target of each head's KL divergence, in nats; adapts the learning rate. "
        "None: off.",
    )
    chunk_length: Epochs | None = Field(
        default=None,
        description="Steps that gradients reach back through the LSTM. None: whole episodes.",
    )
    normalize_values: bool = Field(
        default=True, description="Normalize the value targets by running statistics."
    )
    scale_rewards: bool = Field(
        default=True, description="Divide rewards by the running deviation of returns."
    )
    bootstrap_horizon: bool = Field(
        default=False, description="Bootstrap the value at the horizon, as if the episode went on."
    )
    critic: Literal["q", "v"] = Field(default="q", description="Critic: Q(s, op), or V(s).")
    amp: bool = Field(
        default=False, description="Compute the policy's update in bfloat16, except its LSTM."
    )
