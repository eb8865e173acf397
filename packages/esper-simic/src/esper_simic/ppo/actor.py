"""The PPO policy as an actor of hosts: reports in, factored actions out."""

from __future__ import annotations

from collections.abc import Sequence

from esper_leyline import (
    HEADS,
    RELEVANT_HEADS,
    EpisodeEnd,
    FactoredAction,
    Observation,
    Op,
    StepReport,
)
from esper_leyline.events import HeadDecision
from esper_leyline.ports import HostActorCritic, PolicyDecision
from esper_simic.ppo.normalizers import ReturnScale
from esper_simic.ppo.ppo import PPO
from esper_simic.rollout.actor import ActorStep


class PolicyActor:
    """Implements ``Actor`` with ``PPO``.

    Args:
        ppo: Acts, and stores the steps.
        policy: The policy that it trains, which encodes reports and decodes actions.
        rng_seed: Decides every sample of the round.
    """

    def __init__(self, ppo: PPO, policy: HostActorCritic, *, rng_seed: int) -> None:
        self._ppo = ppo
        self._policy = policy
        self._rng_seed = rng_seed
        self._observation: Observation | None = None

    def reset(self, rng_seeds: Sequence[int]) -> None:
        """Starts a round of one episode for each random seed."""
        self._ppo.reset(len(rng_seeds), rng_seed=self._rng_seed)
        self._observation = None

    def act(self, reports: Sequence[StepReport]) -> list[ActorStep]:
        """Samples one action for each environment.

        Raises:
            SimicError: If no round was started.
        """
        if self._observation is None:
            self._observation = self._policy.encode(reports)
        decision = self._ppo.act(self._observation)
        return _actor_steps(
            self._observation, decision, self._policy.decode(decision.actions), self._ppo.scale
        )

    def observe(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Stores the step."""
        self._observation = self._policy.encode(current)
        self._ppo.observe(
            rewards,
            self._observation,
            valid=[report.ended is None for report in previous],
            terminated=[report.ended is EpisodeEnd.GOVERNOR for report in current],
            truncated=[report.ended is EpisodeEnd.HORIZON for report in current],
        )


def _actor_steps(
    observation: Observation,
    decision: PolicyDecision,
    actions: Sequence[FactoredAction],
    scale: ReturnScale,
) -> list[ActorStep]:
    values = scale.rewards(decision.value).tolist()
    q_values = scale.rewards(decision.q_values).tolist()
    probabilities = {name: probs.tolist() for name, probs in decision.probabilities.items()}
    masks = {name: mask.tolist() for name, mask in observation.masks.items()}
    steps = []
    for index, action in enumerate(actions):
        heads = {}
        for name in RELEVANT_HEADS[action.op]:
            row = masks[name][index]
            heads[name] = HeadDecision(
                probabilities=tuple(probabilities[name][index]),
                valid=tuple(row[action.op] if name == "slot" else row),
            )
        steps.append(
            ActorStep(
                action=action,
                forced=_forced(masks[HEADS[0]][index]),
                heads=heads,
                value=values[index],
                q_values=tuple(q_values[index]),
            )
        )
    return steps


def _forced(open_ops: Sequence[bool]) -> bool:
    return bool(open_ops[Op.WAIT]) and sum(open_ops) == 1
