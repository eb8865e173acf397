"""A policy that decides for a round of episodes and keeps what PPO needs of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from esper_leyline import HEADS, RELEVANT_HEADS, FactoredAction, Observation, Op, StepReport
from esper_leyline.events import HeadDecision
from esper_leyline.ports import PolicyDecision, PolicyState
from esper_simic.errors import SimicError
from esper_simic.ppo.normalizers import Units
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.rollout.actor import Choice
from esper_simic.rollout.storage import Rollout, RolloutBuffer


class PolicyActor:
    """Implements ``Decider`` with a recurrent policy, whose weights it leaves alone.

    Args:
        policy: Decides.
        units: What its critic's numbers mean, for telemetry.
        rng_seed: Decides every sample of the round.
    """

    def __init__(self, policy: TrainablePolicy, units: Units, *, rng_seed: int) -> None:
        device = next(iter(policy.parameters())).device
        self._policy = policy
        self._units = units
        self._generator = torch.Generator(device=device).manual_seed(rng_seed)
        self._buffer = RolloutBuffer()
        self._state: PolicyState | None = None
        self._observation: Observation | None = None
        self._decision: PolicyDecision | None = None

    def reset(self, rng_seeds: Sequence[int]) -> None:
        """Starts a round of one episode for each random seed, with nothing remembered."""
        self._state = self._policy.initial_state(len(rng_seeds))
        self._observation = None
        self._buffer = RolloutBuffer()

    def choose(self, reports: Sequence[StepReport]) -> list[Choice]:
        """Samples one action an environment."""
        if self._state is None:
            raise SimicError("the policy was asked to choose before a round was started")
        if self._observation is None:
            self._observation = self._policy.encode(reports)
        self._decision = self._policy.act(self._observation, self._state, generator=self._generator)
        self._state = self._decision.state
        return _choices(
            self._observation,
            self._decision,
            self._units,
            self._policy.decode(self._decision.actions),
        )

    def learn(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Stores the step."""
        assert self._observation is not None
        assert self._decision is not None
        self._buffer.add(
            self._observation,
            self._decision,
            rewards,
            valid=[report.ended is None for report in previous],
            ended=[report.ended for report in current],
        )
        self._observation = self._policy.encode(current)

    def rollout(self) -> Rollout:
        """Returns the round so far.

        Raises:
            SimicError: If there was no step.
        """
        if self._observation is None:
            raise SimicError("a rollout needs at least one step; none was taken")
        return self._buffer.build(self._observation)


def _choices(
    observation: Observation,
    decision: PolicyDecision,
    units: Units,
    actions: Sequence[FactoredAction],
) -> list[Choice]:
    values = units.rewards(decision.value).tolist()
    q_values = units.rewards(decision.q_values).tolist()
    probabilities = {name: probs.tolist() for name, probs in decision.probabilities.items()}
    masks = {name: mask.tolist() for name, mask in observation.masks.items()}
    choices = []
    for index, action in enumerate(actions):
        heads = {}
        for name in RELEVANT_HEADS[action.op]:
            row = masks[name][index]
            heads[name] = HeadDecision(
                probabilities=tuple(probabilities[name][index]),
                valid=tuple(row[action.op] if name == "slot" else row),
            )
        choices.append(
            Choice(
                action=action,
                forced=_forced(masks[HEADS[0]][index]),
                heads=heads,
                value=values[index],
                q_values=tuple(q_values[index]),
            )
        )
    return choices


def _forced(open_ops: Sequence[bool]) -> bool:
    return bool(open_ops[Op.WAIT]) and sum(open_ops) == 1
