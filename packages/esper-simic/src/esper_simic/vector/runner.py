"""PPO on a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from esper_leyline import Observation, PPOConfig
from esper_leyline.events import PPOUpdate
from esper_simic.errors import SimicError
from esper_simic.ppo.batch import check_minibatches
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.ppo.ppo import PPO
from esper_simic.vector.policy import choices_of

Flags = NDArray[np.bool_]
Masks = Callable[[Any, Mapping[str, Any]], Any]
"""Returns the open choices [N, sum of choices] of a vector environment with this info."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRound:
    """One round of training.

    Attributes:
        round: Counted from 1.
        episodes: Episodes that ended in it.
        mean_return: Their mean undiscounted return, ``None`` if none ended.
        mean_length: Their mean number of steps, ``None`` if none ended.
        update: Metrics of the update.
    """

    round: int
    episodes: int
    mean_return: float | None
    mean_length: float | None
    update: PPOUpdate


def info_masks(envs: Any, info: Mapping[str, Any]) -> Any:  # noqa: ARG001 - a Masks
    """Returns ``info["action_mask"]``, or ``None`` if there is none: all choices are open."""
    return info.get("action_mask")


class VectorRunner:
    """Trains a policy on a vector environment; episodes may have any length.

    A truncated episode is bootstrapped with the value of its last observation, a terminated one
    is not. Both autoreset modes of Gymnasium are supported: ``NEXT_STEP``, its default, and
    ``SAME_STEP``.

    Args:
        envs: A ``gymnasium.vector.VectorEnv``, or an object with the same ``reset``, ``step``,
            ``num_envs`` and ``metadata``.
        policy: Trained in place, with a head for each action; ``MultiDiscretePolicy.of(envs)``
            builds one.
        config: Settings of PPO. ``bootstrap_horizon`` is always on.
        steps: Steps of each environment in a round.
        rng_seed: Seeds the environments and the sampled actions.
        masks: Returns the open choices. By default ``info["action_mask"]``: flat, as
            [N, sum of choices], or for each environment one array a head. For environments with
            ``action_masks()`` give ``lambda envs, info: envs.call("action_masks")``.

    Raises:
        SimicError: If environments are not reset automatically, the policy has not one head for
            each action, or there are more minibatches than environments.
    """

    def __init__(
        self,
        envs: Any,
        policy: TrainablePolicy,
        config: PPOConfig | None = None,
        *,
        steps: int = 128,
        rng_seed: int = 0,
        masks: Masks = info_masks,
    ) -> None:
        config = PPOConfig() if config is None else config
        check_minibatches(envs.num_envs, config.minibatches)
        self._envs = envs
        self._choices = choices_of(envs.single_action_space)
        _check_heads(policy, self._choices)
        self._same_step = _resets_in_the_same_step(envs)
        self._gamma = config.gamma
        self._ppo = PPO(policy, config.model_copy(update={"bootstrap_horizon": True}))
        self._policy = policy
        self._device = next(policy.parameters()).device
        self._steps = steps
        self._masks = masks
        self._rounds = 0
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, dtype=np.int64)
        self._ended: list[tuple[float, int]] = []
        self._starts = np.ones(envs.num_envs, dtype=np.bool_)
        self._resetting = np.zeros(envs.num_envs, dtype=np.bool_)
        observation, info = envs.reset(seed=rng_seed)
        self._ppo.reset(envs.num_envs, rng_seed=rng_seed)
        self._observation = self._encode(observation, info)

    def learn(
        self, rounds: int, *, on_round: Callable[[VectorRound], None] | None = None
    ) -> list[VectorRound]:
        """Trains for some rounds: collect, then update.

        Args:
            rounds: How many more rounds.
            on_round: Called after each round with its result, for example to log it or to save
                ``state_dict()``.

        Raises:
            SimicError: If a mask closes all choices of a head, or has another size.
        """
        results = []
        for _ in range(rounds):
            self._rounds += 1
            self._ended.clear()
            for _ in range(self._steps):
                self._step()
            update = self._ppo.update(round_number=self._rounds)
            results.append(self._result(update))
            if on_round is not None:
                on_round(results[-1])
        return results

    def state_dict(self) -> dict[str, Any]:
        """Returns what to save between two rounds: policy, optimizer, statistics and round.

        Environments are not part of it: a runner that loads it starts new episodes.
        """
        return {
            "rounds": self._rounds,
            "policy": self._policy.state_dict(),
            "ppo": self._ppo.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` of a runner with the same heads and sizes returned."""
        self._policy.load_state_dict(state["policy"])
        self._ppo.load_state_dict(state["ppo"])
        self._rounds = int(state["rounds"])

    def _step(self) -> None:
        decision = self._ppo.act(self._observation, starts=self._starts.tolist())
        actions = decision.actions.cpu().numpy()
        if not hasattr(self._envs.single_action_space, "nvec"):
            actions = actions[:, 0]
        seen, rewards, terminated, truncated, info = self._envs.step(actions)
        valid = ~self._resetting
        terminated = np.asarray(terminated, dtype=np.bool_) & valid
        truncated = np.asarray(truncated, dtype=np.bool_) & valid & ~terminated
        rewards = np.where(valid, np.asarray(rewards, dtype=np.float64), 0.0)
        ended = terminated | truncated
        self._count(rewards, valid, ended)
        if self._same_step and truncated.any():
            # The next row belongs to the next episode: r + gamma * V(last observation).
            rewards = rewards + self._gamma * np.where(truncated, self._final_values(seen, info), 0)
            terminated, truncated = ended, np.zeros_like(ended)
        if self._same_step:
            self._starts = ended
        else:
            self._starts, self._resetting = self._resetting, ended
        self._observation = self._encode(seen, info)
        self._ppo.observe(
            rewards.tolist(),
            self._observation,
            valid=valid.tolist(),
            terminated=terminated.tolist(),
            truncated=truncated.tolist(),
        )

    def _count(self, rewards: NDArray[np.float64], valid: Flags, ended: Flags) -> None:
        self._returns += rewards
        self._lengths += valid
        for index in ended.nonzero()[0]:
            self._ended.append((float(self._returns[index]), int(self._lengths[index])))
        self._returns[ended] = 0.0
        self._lengths[ended] = 0

    def _final_values(self, seen: Any, info: Mapping[str, Any]) -> NDArray[np.float64]:
        rows = np.array(seen, dtype=np.float32)
        for index, final in enumerate(info["final_obs"]):
            if final is not None:
                rows[index] = final
        values = self._ppo.value(self._observe(rows, np.ones((len(rows), self._width), np.bool_)))
        numbers: NDArray[np.float64] = values.double().cpu().numpy()
        return numbers

    @property
    def _width(self) -> int:
        return sum(self._choices)

    def _encode(self, seen: Any, info: Mapping[str, Any]) -> Observation:
        rows = np.asarray(seen, dtype=np.float32)
        opened = np.ones((self._envs.num_envs, self._width), dtype=np.bool_)
        masks = self._masks(self._envs, info)
        if masks is not None:
            given = info.get("_action_mask", np.ones(len(rows), dtype=np.bool_))
            for index in (given & ~self._resetting).nonzero()[0]:
                opened[index] = self._row(masks[index], index)
        return self._observe(rows, opened)

    def _row(self, mask: Any, index: int) -> Flags:
        """Returns one environment's mask, flat."""
        parts = [np.ravel(np.asarray(part, dtype=np.bool_)) for part in mask]
        row = np.concatenate(parts)
        if row.shape != (self._width,):
            raise SimicError(
                f"the action mask of environment {index} has {row.size} entries; "
                f"heads of {self._choices} choices need {self._width}"
            )
        edges = np.cumsum(self._choices)[:-1]
        for head, opened in enumerate(np.split(row, edges)):
            if not opened.any():
                raise SimicError(
                    f"the action mask of environment {index} closes all choices of head {head}; "
                    "leave at least one open"
                )
        return row

    def _observe(self, rows: NDArray[np.float32], opened: Flags) -> Observation:
        features = torch.from_numpy(rows.reshape(len(rows), -1)).to(self._device)
        parts = torch.from_numpy(opened).to(self._device).split(self._choices, dim=-1)
        return Observation(
            features=features,
            blueprints=torch.zeros(len(rows), 0, dtype=torch.int64, device=self._device),
            masks=dict(zip(self._policy.heads, parts, strict=True)),
        )

    def _result(self, update: PPOUpdate) -> VectorRound:
        count = len(self._ended)
        return VectorRound(
            round=self._rounds,
            episodes=count,
            mean_return=sum(each[0] for each in self._ended) / count if count else None,
            mean_length=sum(each[1] for each in self._ended) / count if count else None,
            update=update,
        )


def _check_heads(policy: TrainablePolicy, choices: Sequence[int]) -> None:
    if len(policy.heads) != len(choices):
        raise SimicError(
            f"the policy has the heads {', '.join(policy.heads)}, the environment takes "
            f"{len(choices)} actions; give the policy a head for each"
        )


def _resets_in_the_same_step(envs: Any) -> bool:
    # Gymnasium before 1.4 shares ``metadata`` between the vector environments of a class.
    mode = getattr(envs, "autoreset_mode", None) or envs.metadata.get("autoreset_mode")
    name = getattr(mode, "name", mode)
    if name not in ("NEXT_STEP", "SAME_STEP"):
        raise SimicError(
            f"autoreset_mode is {name}; build the vector environment with NEXT_STEP or SAME_STEP"
        )
    return bool(name == "SAME_STEP")
