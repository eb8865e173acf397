"""Recurrent PPO's update: several passes over one round's whole episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from esper_leyline import HEADS, PolicyEvaluation, PPOConfig
from esper_leyline.events import PPOUpdate
from esper_simic.adam import Adam
from esper_simic.batch import Batch, baselines, make_batch
from esper_simic.diagnostics import (
    Report,
    describe_batch,
    describe_evaluation,
    describe_gradients,
    describe_pass,
    gradient_norms,
)
from esper_simic.normalizers import RewardScaler, Units, ValueNormalizer
from esper_simic.objective import Piece, Terms, Weights, add_up, count_steps, ppo_terms
from esper_simic.policy import TrainablePolicy
from esper_simic.rollout import Rollout, slice_observation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    batch: Batch
    targets: Tensor


class PPOUpdater:
    """Improves a policy from rollouts (Schulman et al. 2017), its memory included.

    In this order: the policy's observation statistics and the reward scale take the
    rollout in; the critic values it under those statistics; advantages and returns
    follow; then up to ``epochs`` passes, one optimiser step each.

    Because the statistics move between acting and updating, the log-probabilities
    noted when acting belong to slightly different inputs. The old policy of the ratio
    is therefore the one that the first pass finds, evaluated as every pass evaluates:
    the first pass's ratio is exactly 1.

    With ``chunk_length``, gradients reach back to a chunk's start only; the state there
    is rebuilt in every pass by running what comes before under the current weights.

    Attributes:
        episodes: Episodes learnt from so far; entropy is annealed by it.
        consecutive_skips: Updates in a row that met a number that is not finite.
    """

    def __init__(self, policy: TrainablePolicy, config: PPOConfig) -> None:
        self.episodes = 0
        self.consecutive_skips = 0
        self._policy = policy
        self._config = config
        self._optimizer = Adam(
            policy.parameters(), learning_rate=config.learning_rate, eps=config.adam_eps
        )
        self._values = ValueNormalizer(enabled=config.normalize_values)
        self._rewards = RewardScaler(config.gamma, enabled=config.scale_rewards)

    @property
    def units(self) -> Units:
        """What the critic's outputs mean now."""
        scale = self._rewards.scale
        return Units(
            mean=self._values.mean,
            std=self._values.std,
            critic_scale=scale,
            reward_scale=scale,
        )

    @property
    def entropy_coefficient(self) -> float:
        """Weight of the entropy bonus at this number of episodes."""
        first, last = self._config.entropy_coefficient, self._config.entropy_final
        span = self._config.entropy_anneal_episodes
        if last is None or span == 0:
            return first
        return first + (last - first) * min(1.0, self.episodes / span)

    def update(self, rollout: Rollout, *, round_number: int) -> PPOUpdate:
        """Learns from one round and says how it went.

        An update that meets a number that is not finite stops there and says so in
        ``skipped``; no such number reaches weights or statistics.

        Args:
            rollout: Whole episodes, or episodes cut by the rollout's end.
            round_number: Counted from 1, for the event.
        """
        report = Report(
            round=round_number,
            learning_rate=self._config.learning_rate,
            entropy_coefficient=self.entropy_coefficient,
        )
        begin = time.perf_counter()
        prepared = self._prepare(rollout, report)
        middle = time.perf_counter()
        if prepared is not None:
            self._passes(prepared, report)
        report.seconds = {"prepare": middle - begin, "passes": time.perf_counter() - middle}
        self.consecutive_skips = 0 if report.skipped is None else self.consecutive_skips + 1
        self.episodes += rollout.environments
        return report.payload()

    def state_dict(self) -> dict[str, Any]:
        """Returns everything but the policy's own state."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "values": self._values.state_dict(),
            "rewards": self._rewards.state_dict(),
            "episodes": self.episodes,
            "consecutive_skips": self.consecutive_skips,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._values.load_state_dict(state["values"])
        self._rewards.load_state_dict(state["rewards"])
        self.episodes = state["episodes"]
        self.consecutive_skips = state["consecutive_skips"]

    def _prepare(self, rollout: Rollout, report: Report) -> _Prepared | None:
        report.skipped = _fault_of(rollout)
        if report.skipped is not None:
            return None
        observed = slice_observation(rollout.observation, 0, rollout.steps)
        self._policy.update_normalizer(observed, rollout.valid)
        before = self.units
        self._rewards.update(rollout.rewards, rollout.valid)
        units = Units(
            mean=before.mean,
            std=before.std,
            critic_scale=before.critic_scale,
            reward_scale=self._rewards.scale,
        )
        evaluation = self._value(rollout)
        seen = baselines(evaluation, rollout, units)
        batch = make_batch(rollout, seen, self._config, units=units)
        if not _finite(batch.returns, batch.advantages):
            report.skipped = "the critic's values are not finite"
            return None
        describe_batch(report, batch, seen, units)
        describe_evaluation(report, evaluation, batch, units)
        self._values.update(batch.returns[batch.valid])
        return _Prepared(batch=batch, targets=self._values.normalize(batch.returns))

    @torch.no_grad()
    def _value(self, rollout: Rollout) -> PolicyEvaluation:
        """Evaluates [T + 1, N]: what the last step led to is valued as well."""
        actions = torch.cat((rollout.actions, torch.zeros_like(rollout.actions[:1])))
        starts = torch.cat((rollout.starts, torch.zeros_like(rollout.starts[:1])))
        state = self._policy.initial_state(rollout.environments)
        return self._policy.evaluate(rollout.observation, actions, state, starts)

    def _passes(self, prepared: _Prepared, report: Report) -> None:
        old_log_probs: list[Tensor] = []
        for index in range(self._config.epochs):
            terms = self._accumulate(prepared, old_log_probs)
            describe_pass(report, terms, prepared.batch.choosable.sum(dim=(0, 1)))
            if not _finite(terms.loss):
                report.skipped = f"the loss of pass {index + 1} is not finite"
                break
            if self._moved_enough(terms):
                break
            norms = gradient_norms(self._policy)
            describe_gradients(report, norms)
            if not math.isfinite(norms.total):
                report.skipped = f"the gradient of pass {index + 1} is not finite"
                break
            self._step(norms.total)
            report.passes = index + 1
        self._optimizer.drop_gradients()

    def _moved_enough(self, terms: Terms) -> bool:
        limit = self._config.target_kl
        return limit is not None and float(terms.kl) > limit

    def _accumulate(self, prepared: _Prepared, old_log_probs: list[Tensor]) -> Terms:
        """Sums the gradients of all chunks; the first pass notes the old log-probabilities."""
        batch, policy = prepared.batch, self._policy
        counts = count_steps(batch.valid, batch.decided, batch.choosable)
        weights = self._weights(batch.advantages)
        first_pass = not old_log_probs
        self._optimizer.drop_gradients()
        state = policy.initial_state(batch.valid.shape[1])
        collected = []
        for chunk, (begin, end) in enumerate(self._chunks(batch.valid.shape[0])):
            evaluation = policy.evaluate(
                slice_observation(batch.observation, begin, end),
                batch.actions[begin:end],
                state,
                batch.starts[begin:end],
            )
            if first_pass:
                old_log_probs.append(evaluation.log_probs.detach())
            piece = _piece(prepared, old_log_probs[chunk], begin, end)
            terms = ppo_terms(evaluation, piece, counts, weights)
            torch.autograd.backward(terms.loss)
            collected.append(terms)
            state = (evaluation.state[0].detach(), evaluation.state[1].detach())
        return add_up(collected)

    def _chunks(self, steps: int) -> list[tuple[int, int]]:
        length = self._config.chunk_length or steps
        return [(begin, min(begin + length, steps)) for begin in range(0, steps, length)]

    def _weights(self, like: Tensor) -> Weights:
        multipliers = self._config.entropy_multipliers
        entropy = [self.entropy_coefficient * multipliers.get(head, 1.0) for head in HEADS]
        return Weights(
            clip=self._config.clip,
            value=self._config.value_coefficient,
            entropy=torch.tensor(entropy, device=like.device),
        )

    def _step(self, norm: float) -> None:
        limit = self._config.max_grad_norm
        if norm > limit:
            for parameter in self._policy.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(limit / norm)
        self._optimizer.step()


def _piece(prepared: _Prepared, old_log_probs: Tensor, begin: int, end: int) -> Piece:
    batch = prepared.batch
    return Piece(
        ops=batch.actions[begin:end, :, :1],
        old_log_probs=old_log_probs,
        advantages=batch.advantages[begin:end],
        targets=prepared.targets[begin:end],
        valid=batch.valid[begin:end],
        decided=batch.decided[begin:end],
        choosable=batch.choosable[begin:end],
    )


def _fault_of(rollout: Rollout) -> str | None:
    """Returns what of a rollout is not finite, or ``None``; padding does not count."""
    if not _finite(rollout.rewards[rollout.valid]):
        return "a reward is not finite"
    if not _finite(rollout.observation.features[:-1][rollout.valid]):
        return "an observation is not finite"
    return None


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
