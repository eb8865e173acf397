"""Running statistics that keep the critic's targets and the rewards at unit size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from esper_simic.ppo.returns import discounted_sums

_SMALLEST_STD = 1e-6


class RunningMoments:
    """Mean and variance of everything seen so far, merged batch by batch (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    @property
    def std(self) -> float:
        """Population standard deviation; 1 until values differ."""
        if self.count < 2:
            return 1.0
        std = math.sqrt(self.squares / self.count)
        return std if std > _SMALLEST_STD else 1.0

    def update(self, values: Tensor) -> None:
        """Adds a batch of any shape; it must be finite."""
        if values.numel() == 0:
            return
        batch = values.double()
        count, mean = batch.numel(), float(batch.mean())
        squares = float((batch - mean).square().sum())
        total = self.count + count
        shift = mean - self.mean
        self.squares += squares + shift * shift * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        """Returns the statistics as plain numbers."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` returned."""
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]


class ValueNormalizer:
    """Normalises the returns that the critic is fitted to, to mean 0 and deviation 1."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._moments = RunningMoments()

    def update(self, returns: Tensor) -> None:
        """Adds finite returns of any shape."""
        if self.enabled:
            self._moments.update(returns)

    @property
    def mean(self) -> float:
        """Mean of the returns so far."""
        return self._moments.mean

    @property
    def std(self) -> float:
        """Their standard deviation; 1 until they differ."""
        return self._moments.std

    def normalize(self, returns: Tensor) -> Tensor:
        """Converts returns to critic units: (return - mean) / std."""
        return (returns - self.mean) / self.std

    def state_dict(self) -> dict[str, Any]:
        """Returns the statistics as plain numbers."""
        return self._moments.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` returned."""
        self._moments.load_state_dict(state)


class RewardScaler:
    """Measures what rewards are divided by: the deviation of their running discounted return.

    Engstrom et al., "Implementation Matters in Deep RL" (2020). Rewards are not centred, so they
    keep their signs.
    """

    def __init__(self, gamma: float, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._gamma = gamma
        self._moments = RunningMoments()

    @property
    def scale(self) -> float:
        """What rewards are divided by."""
        return self._moments.std

    def update(self, rewards: Tensor, valid: Tensor, starts: Tensor) -> None:
        """Adds a rollout [T, N]; the running return starts at 0 in each episode."""
        if self.enabled:
            sums = discounted_sums(rewards, valid, self._gamma, starts=starts)
            self._moments.update(sums[valid])

    def state_dict(self) -> dict[str, Any]:
        """Returns the statistics as plain numbers."""
        return self._moments.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` returned."""
        self._moments.load_state_dict(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnScale:
    """Converts the critic's outputs to rewards, by the statistics under which it computed them.

    Attributes:
        mean: Mean of the returns, in rewards divided by ``critic_scale``.
        std: Their standard deviation, in the same units.
        critic_scale: Divisor of the rewards that the critic was fitted to.
        reward_scale: Divisor of the rewards of this update.
    """

    mean: float
    std: float
    critic_scale: float
    reward_scale: float

    @property
    def spread(self) -> float:
        """Standard deviation of the returns, in rewards divided by ``reward_scale``."""
        return self.std * self.critic_scale / self.reward_scale

    def scaled(self, critic_output: Tensor) -> Tensor:
        """Converts critic outputs to rewards divided by ``reward_scale``."""
        return self.rewards(critic_output) / self.reward_scale

    def rewards(self, critic_output: Tensor) -> Tensor:
        """Converts critic outputs to rewards."""
        # r = (q * std + mean) * critic_scale, as an inverse of the normalisation
        return (critic_output * self.std + self.mean) * self.critic_scale
