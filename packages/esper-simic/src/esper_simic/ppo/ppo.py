"""Recurrent PPO with factored, masked actions."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from esper_leyline import Observation, PolicyEvaluation, PPOConfig
from esper_leyline.events import PPOUpdate
from esper_leyline.ports import PolicyDecision, PolicyState
from esper_simic._torch import Adam
from esper_simic.errors import SimicError
from esper_simic.ppo.batch import Minibatch, UpdateBatch, make_batch, split_environments
from esper_simic.ppo.learning_rate import adapt_scale
from esper_simic.ppo.metrics import (
    Metrics,
    critic_metrics,
    gradient_metrics,
    loss_metrics,
    ppo_update,
    return_metrics,
)
from esper_simic.ppo.normalizers import ReturnScale, RewardScaler, ValueNormalizer
from esper_simic.ppo.objective import LossStats, merge_minibatches, ppo_loss, sum_chunks
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.rollout.storage import (
    Rollout,
    RolloutStorage,
    slice_observation,
    stack_observations,
)

BAD_REWARD = "a reward is not finite"
BAD_OBSERVATION = "an observation is not finite"


class _NotFinite(Exception):  # noqa: N818 - it ends an update, which is then reported as skipped
    """An update met a number that is not finite."""


class PPO:
    """Trains a recurrent policy (Schulman et al. 2017): ``act``, ``observe``, ``update``.

    ``reset`` starts a rollout. Then ``act`` and ``observe`` alternate, and ``update`` learns from
    all steps since the update before it.

    An update first adds the rollout to the policy's observation statistics and to the reward
    scale. The critic is evaluated under these, then advantages and returns are computed. Then
    follow ``epochs`` passes, each of ``minibatches`` optimiser steps on a random share of the
    environments.

    The reference policy of the ratio is the one of the first pass, not the one of the rollout,
    because the observation statistics moved in between. Before the first step the ratio is
    exactly 1.

    With ``chunk_length``, gradients reach back to the start of a chunk only. The state there is
    computed again in every pass, with the current weights.

    Attributes:
        episodes: Episodes learnt from so far; entropy and learning rate are annealed by it.
        consecutive_skips: Updates in a row that met a number that is not finite.
        rate_scale: Factor that ``target_kl`` puts on the learning rate.
    """

    def __init__(self, policy: TrainablePolicy, config: PPOConfig) -> None:
        _check_heads(config.entropy_multipliers, policy.heads)
        self.episodes = 0
        self.consecutive_skips = 0
        self.rate_scale = 1.0
        self._policy = policy
        self._config = config
        self._device = next(iter(policy.parameters())).device
        self._optimizer = Adam(
            policy.parameters(), learning_rate=config.learning_rate, eps=config.adam_eps
        )
        self._values = ValueNormalizer(enabled=config.normalize_values)
        self._rewards = RewardScaler(config.gamma, enabled=config.scale_rewards)
        self._generator = torch.Generator(device=self._device)
        self._state: PolicyState | None = None
        self._storage: RolloutStorage | None = None
        self._step: tuple[Observation, PolicyDecision, Sequence[bool]] | None = None
        self._following: Observation | None = None

    @property
    def scale(self) -> ReturnScale:
        """Converts the critic's outputs to rewards."""
        scale = self._rewards.scale
        return ReturnScale(
            mean=self._values.mean, std=self._values.std, critic_scale=scale, reward_scale=scale
        )

    @property
    def entropy_coefficient(self) -> float:
        """Weight of the entropy bonus at this number of episodes."""
        config = self._config
        return self._annealed(
            config.entropy_coefficient, config.entropy_final, config.entropy_anneal_episodes
        )

    @property
    def learning_rate(self) -> float:
        """The configured learning rate at this number of episodes, times ``rate_scale``."""
        config = self._config
        configured = self._annealed(
            config.learning_rate, config.learning_rate_final, config.learning_rate_anneal_episodes
        )
        return configured if config.target_kl is None else configured * self.rate_scale

    def reset(self, environments: int, *, rng_seed: int) -> None:
        """Starts a rollout of new episodes, and forgets steps that were not learnt from.

        Args:
            environments: N.
            rng_seed: Decides every sampled action from here on.
        """
        self._generator.manual_seed(rng_seed)
        self._state = self._policy.initial_state(environments)
        self._storage = RolloutStorage(self._state)
        self._step = self._following = None

    def act(
        self, observation: Observation, *, starts: Sequence[bool] | None = None
    ) -> PolicyDecision:
        """Samples one action for each environment; records no gradient.

        Args:
            observation: [N, ...].
            starts: Where an episode starts, and the recurrent state is zero. By default
                everywhere in the first step after ``reset``, then nowhere.

        Raises:
            SimicError: If ``reset`` was not called.
        """
        if self._state is None or self._storage is None:
            raise SimicError("PPO.act was called before PPO.reset; reset it to start a rollout")
        first = self._step is None
        if starts is None:
            starts = [first] * observation.features.shape[0]
        elif any(starts):
            keep = ~torch.tensor(starts, dtype=torch.bool, device=self._device).unsqueeze(-1)
            self._state = (self._state[0] * keep, self._state[1] * keep)
        decision = self._policy.act(observation, self._state, generator=self._generator)
        self._state = decision.state
        self._step = (observation, decision, starts)
        return decision

    def observe(
        self,
        rewards: Sequence[float],
        following: Observation,
        *,
        valid: Sequence[bool],
        terminated: Sequence[bool],
        truncated: Sequence[bool],
    ) -> None:
        """Stores what the last actions led to.

        Args:
            rewards: N rewards; not read where ``valid`` is false.
            following: The next observation, [N, ...].
            valid: Whether each episode was running before the step.
            terminated: Whether the step ended it for good.
            truncated: Whether a time limit ended it.

        Raises:
            SimicError: If ``act`` was not called.
        """
        if self._step is None or self._storage is None:
            raise SimicError("PPO.observe was called before PPO.act")
        observation, decision, starts = self._step
        self._storage.add(
            observation,
            decision.actions,
            rewards,
            valid=valid,
            starts=starts,
            terminated=terminated,
            truncated=truncated,
        )
        self._following = following

    @torch.no_grad()
    def value(self, observation: Observation) -> Tensor:
        """Returns V(s) [N] in reward units, with the recurrent state after the last step.

        Raises:
            SimicError: If ``reset`` was not called.
        """
        if self._state is None:
            raise SimicError("PPO.value was called before PPO.reset; reset it to start a rollout")
        rows = stack_observations([observation])
        environments = observation.features.shape[0]
        shape = (1, environments, len(self._policy.heads))
        actions = torch.zeros(shape, dtype=torch.int64, device=self._device)
        starts = torch.zeros(1, environments, dtype=torch.bool, device=self._device)
        return self.scale.rewards(self._evaluate(rows, actions, self._state, starts).value[0])

    def rollout(self) -> Rollout:
        """Returns the steps since the last update.

        Raises:
            SimicError: If there is none.
        """
        if self._storage is None or self._following is None:
            raise SimicError("a rollout needs at least one step; none was observed")
        return self._storage.build(self._following)

    def update(self, rollout: Rollout | None = None, *, round_number: int) -> PPOUpdate:
        """Learns from a rollout and measures how.

        An update that meets a number that is not finite stops there and says so in
        ``skipped``. Nothing that is not finite reaches weights or statistics.

        Args:
            rollout: The steps since the last update if not given.
            round_number: Counted from 1; decides how environments are split into minibatches.

        Raises:
            SimicError: If there is no step, or there are more minibatches than environments.
        """
        rollout = self._take_rollout() if rollout is None else rollout
        metrics: Metrics = {
            "learning_rate": self.learning_rate,
            "entropy_coefficient": self.entropy_coefficient,
        }
        began = prepared = time.perf_counter()
        try:
            batch, evaluation = self._prepare(rollout, metrics)
            prepared = time.perf_counter()
            self._learn(batch, evaluation, round_number, metrics)
        except _NotFinite as reason:
            metrics["skipped"] = str(reason)
            if prepared == began:
                prepared = time.perf_counter()
        metrics["seconds"] = {
            "prepare": prepared - began,
            "passes": time.perf_counter() - prepared,
        }
        self.consecutive_skips = self.consecutive_skips + 1 if "skipped" in metrics else 0
        self.episodes += rollout.episodes
        return ppo_update(self._policy.heads, metrics)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything but the policy's own state and the rollout in progress."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "values": self._values.state_dict(),
            "rewards": self._rewards.state_dict(),
            "episodes": self.episodes,
            "consecutive_skips": self.consecutive_skips,
            "rate_scale": self.rate_scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._values.load_state_dict(state["values"])
        self._rewards.load_state_dict(state["rewards"])
        self.episodes = state["episodes"]
        self.consecutive_skips = state["consecutive_skips"]
        self.rate_scale = state["rate_scale"]

    def _annealed(self, first: float, last: float | None, span: int) -> float:
        if last is None or span == 0:
            return first
        return first + (last - first) * min(1.0, self.episodes / span)

    def _take_rollout(self) -> Rollout:
        rollout = self.rollout()
        assert self._state is not None
        self._storage, self._following = RolloutStorage(self._state), None
        return rollout

    def _prepare(
        self, rollout: Rollout, metrics: Metrics
    ) -> tuple[UpdateBatch, PolicyEvaluation | None]:
        """Returns the batch, and the evaluation of the first pass if it was computed already."""
        _check_rollout(rollout)
        observed = slice_observation(rollout.observation, 0, rollout.steps)
        self._policy.update_normalizer(observed, rollout.valid)
        before = self.scale
        self._rewards.update(rollout.rewards, rollout.valid, rollout.starts)
        scale = replace(before, reward_scale=self._rewards.scale)
        single_chunk = self._config.minibatches == 1 and len(self._chunks(rollout.steps)) == 1
        evaluation = self._evaluate_rollout(rollout, gradient=single_chunk)
        with torch.no_grad():
            batch = make_batch(rollout, evaluation, self._config, scale)
            _check_finite("the critic's values are", batch.returns, batch.whole.advantages)
            metrics |= return_metrics(batch, scale) | critic_metrics(
                evaluation,
                batch,
                scale,
                first_head=self._policy.heads[0],
                choices=self._policy.first_choices,
            )
        self._values.update(batch.returns[batch.whole.valid])
        batch = batch.with_targets(self._values.normalize(batch.returns))
        return batch, _without_last(evaluation) if single_chunk else None

    def _evaluate_rollout(self, rollout: Rollout, *, gradient: bool) -> PolicyEvaluation:
        """Evaluates [T + 1, N]: the observation after the last step has a value too.

        If a pass is a single chunk, the first pass uses this evaluation, so it keeps its gradient.
        The weights are the same, and a second evaluation would cost a tenth of an update.
        """
        actions = torch.cat((rollout.actions, torch.zeros_like(rollout.actions[:1])))
        starts = torch.cat((rollout.starts, torch.zeros_like(rollout.starts[:1])))
        with torch.set_grad_enabled(gradient):
            return self._evaluate(rollout.observation, actions, rollout.state, starts)

    def _evaluate(
        self, observation: Observation, actions: Tensor, state: PolicyState, starts: Tensor
    ) -> PolicyEvaluation:
        """Evaluates the policy, in mixed precision if configured.

        bfloat16 has the range of float32, so gradients need no scaling.
        """
        device = observation.features.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._config.amp):
            return self._policy.evaluate(observation, actions, state, starts)

    def _learn(
        self,
        batch: UpdateBatch,
        evaluation: PolicyEvaluation | None,
        round_number: int,
        metrics: Metrics,
    ) -> None:
        clip_scales: list[float] = []
        try:
            for index in range(self._config.epochs):
                minibatches = self._minibatches(batch.whole, rng_seed=(round_number, index))
                self._pass(minibatches, evaluation, index, metrics, clip_scales)
                evaluation = None
                metrics["passes"] = index + 1
        finally:
            self._optimizer.zero_grad()
            if clip_scales:
                metrics["gradient_kept"] = math.fsum(clip_scales) / len(clip_scales)

    def _minibatches(self, whole: Minibatch, *, rng_seed: tuple[int, ...]) -> list[Minibatch]:
        count = self._config.minibatches
        if count == 1:
            return [whole]
        parts = split_environments(whole.environments, count, rng_seed=rng_seed)
        return [whole.select(each) for each in parts]

    def _pass(
        self,
        minibatches: Sequence[Minibatch],
        evaluation: PolicyEvaluation | None,
        index: int,
        metrics: Metrics,
        clip_scales: list[float],
    ) -> None:
        """Makes one optimiser step for each minibatch."""
        collected: list[LossStats] = []
        try:
            for minibatch in minibatches:
                first = index == 0 and not collected
                stats = self._backward(minibatch, evaluation, capture_reference=first)
                collected.append(stats)
                _check_finite(f"the loss of pass {index + 1} is", stats.loss)
                metrics["learning_rate"] = self._set_learning_rate(stats.kl)
                metrics |= gradient_metrics(self._policy)
                if not math.isfinite(metrics["gradient_norm"]):
                    raise _NotFinite(f"the gradient of pass {index + 1} is not finite")
                clip_scales.append(self._clip_and_step(metrics["gradient_norm"]))
        finally:
            if collected:
                metrics |= loss_metrics(self._policy.heads, merge_minibatches(collected))

    def _backward(
        self,
        minibatch: Minibatch,
        cached: PolicyEvaluation | None,
        *,
        capture_reference: bool,
    ) -> LossStats:
        """Computes the gradients of all chunks.

        Args:
            minibatch: What to learn from.
            cached: An evaluation of it, if there is one.
            capture_reference: Whether to store this evaluation's log-probabilities as the
                reference policy. They differ by rounding from those of the whole rollout; the
                ratio is then exactly 1.
        """
        self._optimizer.zero_grad()
        state, collected = minibatch.state, []
        coefficients = self._entropy_coefficients()
        for begin, end in self._chunks(minibatch.steps):
            chunk = minibatch.chunk(begin, end)
            evaluation = cached or self._evaluate(
                chunk.observation, chunk.actions, state, chunk.starts
            )
            if capture_reference:
                chunk.old_log_probs.copy_(evaluation.log_probs.detach())
                chunk.old_distributions.copy_(evaluation.log_distributions)
            stats = ppo_loss(
                evaluation,
                chunk,
                clip=self._config.clip,
                value_coefficient=self._config.value_coefficient,
                entropy_coefficients=coefficients,
            )
            torch.autograd.backward(stats.loss)
            collected.append(stats)
            state = (evaluation.state[0].detach(), evaluation.state[1].detach())
        return sum_chunks(collected)

    def _chunks(self, steps: int) -> list[tuple[int, int]]:
        length = self._config.chunk_length or steps
        return [(begin, min(begin + length, steps)) for begin in range(0, steps, length)]

    def _entropy_coefficients(self) -> Tensor:
        multipliers = self._config.entropy_multipliers
        coefficient = self.entropy_coefficient
        weights = [coefficient * multipliers.get(head, 1.0) for head in self._policy.heads]
        return torch.tensor(weights, device=self._device)

    def _set_learning_rate(self, kl: Tensor) -> float:
        """Adapts the learning rate to the largest KL divergence of a head, [heads]."""
        target = self._config.target_kl
        if target is not None:
            self.rate_scale = adapt_scale(self.rate_scale, float(kl.max()), target)
        self._optimizer.learning_rate = self.learning_rate
        return self._optimizer.learning_rate

    def _clip_and_step(self, norm: float) -> float:
        """Clips the gradients, makes a step, and returns what the gradients were scaled by."""
        limit = self._config.max_grad_norm
        # Scales by min(1, max_norm / norm), as clip_grad_norm_ does, from the norms measured above.
        clip_scale = min(1.0, limit / norm) if norm > 0 else 1.0
        if clip_scale < 1:
            for parameter in self._policy.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(clip_scale)
        self._optimizer.step()
        return clip_scale


def _without_last(evaluation: PolicyEvaluation) -> PolicyEvaluation:
    """Drops the last row, which is for bootstrapping only."""
    return replace(
        evaluation,
        log_probs=evaluation.log_probs[:-1],
        log_distributions=evaluation.log_distributions[:-1],
        entropies=evaluation.entropies[:-1],
        choosable=evaluation.choosable[:-1],
        q_values=evaluation.q_values[:-1],
        value=evaluation.value[:-1],
    )


def _check_heads(multipliers: Mapping[str, float], heads: Sequence[str]) -> None:
    unknown = next((name for name in multipliers if name not in heads), None)
    if unknown is not None:
        raise SimicError(
            f"ppo.entropy_multipliers names head '{unknown}'; heads of the policy: "
            f"{', '.join(heads)}"
        )


def _check_rollout(rollout: Rollout) -> None:
    """Raises if something other than padding is not finite."""
    if not _finite(rollout.rewards[rollout.valid]):
        raise _NotFinite(BAD_REWARD)
    if not _finite(rollout.observation.features[:-1][rollout.valid]):
        raise _NotFinite(BAD_OBSERVATION)


def _check_finite(subject: str, *tensors: Tensor) -> None:
    if not all(_finite(tensor) for tensor in tensors):
        raise _NotFinite(f"{subject} not finite")


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
