"""A trained policy as a controller of one host."""

from __future__ import annotations

import torch

from esper_leyline import FactoredAction, StepReport
from esper_tamiyo.policy import RecurrentPolicy


class PolicyController:
    """Lets a recurrent policy decide for one host; its weights and statistics do not change.

    Several controllers may share a policy: each has its own recurrent state.

    Args:
        policy: Chooses the actions.
        greedy: Whether to take the most probable choice of each head. Otherwise actions are
            drawn from the distribution that was trained, its floors included.
    """

    def __init__(self, policy: RecurrentPolicy, *, greedy: bool = False) -> None:
        self._policy = policy
        self._greedy = greedy
        self.reset(0)

    def reset(self, rng_seed: int) -> None:
        """Starts an episode; its samples follow from ``rng_seed``, on any device."""
        self._state = self._policy.initial_state(1)
        self._generator = torch.Generator().manual_seed(rng_seed)

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action.

        Raises:
            TamiyoError: If the report's slots are not the policy's.
        """
        decision = self._policy.act(
            self._policy.encode([report]),
            self._state,
            generator=self._generator,
            greedy=self._greedy,
        )
        self._state = decision.state
        (action,) = self._policy.decode(decision.actions)
        return action
