"""A recurrent policy over masked ``MultiDiscrete`` actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from esper_leyline import Observation, PolicyEvaluation
from esper_leyline.ports import PolicyDecision, PolicyState
from esper_simic.errors import SimicError

_CLIP = 10.0
_EPSILON = 1e-8
_CLOSED = -1e9
"""Logit of a closed choice: its probability is exactly 0, and gradients stay finite."""


def choices_of(space: Any) -> tuple[int, ...]:
    """Returns the number of choices of each head of an action space.

    Raises:
        SimicError: If the space is neither ``MultiDiscrete`` nor ``Discrete``.
    """
    if hasattr(space, "nvec"):
        return tuple(int(count) for count in space.nvec.ravel())
    if hasattr(space, "n"):
        return (int(space.n),)
    raise SimicError(f"actions are {space}; they must be MultiDiscrete or Discrete")


class MultiDiscretePolicy(nn.Module):
    """Implements ``ActorCritic`` with one LSTM, one linear head for each action, and V(s).

    Observations are standardised by running statistics. A head's closed choices have probability
    exactly 0. Given the recurrent state the heads are independent.

    Args:
        observation_size: Length of a flattened observation.
        choices: Number of choices of each head, as ``MultiDiscrete.nvec``.
        hidden: Units of the feature layer and of the LSTM.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, observation_size: int, choices: Sequence[int], *, hidden: int = 64) -> None:
        super().__init__()
        self.choices = tuple(int(count) for count in choices)
        self.features = nn.Sequential(
            nn.Linear(observation_size, hidden), nn.LayerNorm(hidden), nn.ReLU()
        )
        self.lstm = nn.LSTMCell(hidden, hidden)
        self.head_layers = nn.ModuleList([nn.Linear(hidden, count) for count in self.choices])
        self.critic = nn.Linear(hidden, 1)
        for layer in self.head_layers:
            assert isinstance(layer, nn.Linear)
            # Nearly uniform at first.
            nn.init.orthogonal_(layer.weight, 0.01)
            nn.init.zeros_(layer.bias)
        for name in ("count", "mean", "squares"):
            self.register_buffer(name, torch.zeros(observation_size, dtype=torch.float64))

    @classmethod
    def of(cls, envs: Any, *, hidden: int = 64) -> MultiDiscretePolicy:
        """Builds a policy for a vector environment's spaces.

        Args:
            envs: Its ``single_observation_space`` has a shape, its ``single_action_space`` is
                ``MultiDiscrete`` or ``Discrete``.
            hidden: Units of the feature layer and of the LSTM.

        Raises:
            SimicError: If the spaces are others.
        """
        observations = envs.single_observation_space
        if observations.shape is None:
            raise SimicError(f"observations are {observations}; flatten them to a Box")
        size = math.prod(observations.shape)
        return cls(size, choices_of(envs.single_action_space), hidden=hidden)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads: ``"0"``, ``"1"`` and so on."""
        return tuple(str(index) for index in range(len(self.choices)))

    @property
    def first_choices(self) -> tuple[str, ...]:
        """Names of the first head's choices: ``"0"``, ``"1"`` and so on."""
        return tuple(str(index) for index in range(self.choices[0]))

    def head_parameters(self) -> dict[str, tuple[nn.Parameter, ...]]:
        """Returns the parameters that belong to one head alone, by head."""
        layers = zip(self.heads, self.head_layers, strict=True)
        return {name: tuple(layer.parameters()) for name, layer in layers}

    def initial_state(self, environments: int) -> PolicyState:
        """Returns zeros, [N, H] each."""
        zeros = torch.zeros(environments, self.lstm.hidden_size, device=self.critic.weight.device)
        return zeros, zeros.clone()

    @torch.no_grad()
    def update_normalizer(self, observation: Observation, valid: Tensor) -> None:
        """Adds a rollout [T, N, ...] to the running statistics (Chan et al. 1983)."""
        values = observation.features[valid].double()
        added = values.shape[0]
        total = self.count + added
        mean = values.mean(dim=0)
        delta = mean - self.mean
        self.squares += ((values - mean) ** 2).sum(dim=0) + delta**2 * self.count * added / total
        self.mean += delta * added / total
        self.count.copy_(total)

    @torch.no_grad()
    def act(
        self,
        observation: Observation,
        state: PolicyState,
        *,
        generator: torch.Generator,
        greedy: bool = False,
    ) -> PolicyDecision:
        """Chooses one action for each environment; actions are [N, heads] int64."""
        after = self.lstm(self.features(self._standardized(observation.features)), state)
        distribution = self._distribution(after[0], observation)
        probs = distribution.probs
        if greedy:
            actions = probs.argmax(dim=-1)
        else:
            rows = probs.flatten(0, 1)
            actions = torch.multinomial(rows, 1, generator=generator).view(probs.shape[:-1])
        value = self.critic(after[0]).squeeze(-1)
        return PolicyDecision(
            actions=actions,
            log_probs=distribution.log_prob(actions),
            probabilities={
                name: probs[:, index, :count]
                for index, (name, count) in enumerate(zip(self.heads, self.choices, strict=True))
            },
            q_values=self._q_values(value),
            value=value,
            state=after,
        )

    def evaluate(
        self, observation: Observation, actions: Tensor, state: PolicyState, starts: Tensor
    ) -> PolicyEvaluation:
        """Evaluates stored actions [T, N, heads] over a sequence, with gradient."""
        features = self.features(self._standardized(observation.features))
        outputs = []
        for step, start in zip(features, starts, strict=True):
            keep = ~start.unsqueeze(-1)
            state = self.lstm(step, (state[0] * keep, state[1] * keep))
            outputs.append(state[0])
        hidden = torch.stack(outputs)
        distribution = self._distribution(hidden, observation)
        closed = distribution.logits < _CLOSED / 2
        open_choices = (~closed).sum(dim=-1)
        value = self.critic(hidden).squeeze(-1).float()
        return PolicyEvaluation(
            log_probs=distribution.log_prob(actions),
            log_distributions=distribution.logits.detach().masked_fill(closed, -torch.inf),
            # entropy / ln(open choices), so that 1 is uniform
            entropies=distribution.entropy() / open_choices.clamp_min(2).log(),
            choosable=open_choices > 1,
            q_values=self._q_values(value),
            value=value,
            state=state,
        )

    def _standardized(self, features: Tensor) -> Tensor:
        if not bool(self.count.any()):
            return features
        std = (self.squares / self.count + _EPSILON).sqrt()
        return ((features - self.mean.float()) / std.float()).clamp(-_CLIP, _CLIP)

    def _distribution(self, hidden: Tensor, observation: Observation) -> Categorical:
        """Distributions [..., heads, widest head]; shorter heads are padded with closed choices."""
        rows, widest = [], max(self.choices)
        for name, layer in zip(self.heads, self.head_layers, strict=True):
            logits = layer(hidden).float()
            masked = logits.masked_fill(~observation.masks[name], _CLOSED)
            padding = (0, widest - masked.shape[-1])
            rows.append(nn.functional.pad(masked, padding, value=_CLOSED))
        return Categorical(logits=torch.stack(rows, dim=-2), validate_args=False)

    def _q_values(self, value: Tensor) -> Tensor:
        """V(s) for every choice of the first head: the critic does not tell them apart."""
        return value.unsqueeze(-1).expand(*value.shape, self.choices[0])
