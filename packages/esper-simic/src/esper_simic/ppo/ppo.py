"""Recurrent PPO's update: several passes over one round's whole episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from esper_leyline import HEADS, Observation, PolicyEvaluation, PPOConfig
from esper_leyline.events import PPOUpdate
from esper_leyline.ports import PolicyState
from esper_simic.ppo.adam import Adam
from esper_simic.ppo.batch import baselines, make_batch
from esper_simic.ppo.learning_rate import adapt_scale
from esper_simic.ppo.metrics import (
    Report,
    describe_batch,
    describe_evaluation,
    describe_gradients,
    describe_pass,
    gradient_norms,
)
from esper_simic.ppo.minibatches import Lesson, share_out
from esper_simic.ppo.normalizers import RewardScaler, Units, ValueNormalizer
from esper_simic.ppo.objective import Counts, Terms, Told, Weights, add_up, join, ppo_terms
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.rollout.storage import Rollout, slice_observation

BAD_REWARD = "a reward is not finite"
BAD_OBSERVATION = "an observation is not finite"


class PPOUpdater:
    """Improves a policy from rollouts (Schulman et al. 2017), its memory included.

    In this order: the policy's observation statistics and the reward scale take the
    rollout in; the critic values it under those statistics; advantages and returns
    follow; then ``epochs`` passes, each of them ``minibatches`` optimiser steps over
    a share of the environments, which is drawn for each round and pass.

    Because the statistics move between acting and updating, the log-probabilities
    noted when acting belong to slightly different inputs. The old policy of the ratio
    is therefore the one that the first pass finds, evaluated as every pass evaluates:
    until the first step the ratio is exactly 1.

    With ``chunk_length``, gradients reach back to a chunk's start only; the state there
    is rebuilt in every pass by running what comes before under the current weights.

    Attributes:
        episodes: Episodes learnt from so far; entropy and learning rate are annealed by it.
        consecutive_skips: Updates in a row that met a number that is not finite.
        rate_scale: Part of the configured learning rate that ``target_kl`` leaves.
    """

    def __init__(self, policy: TrainablePolicy, config: PPOConfig) -> None:
        self.episodes = 0
        self.consecutive_skips = 0
        self.rate_scale = 1.0
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
        config = self._config
        return self._annealed(
            config.entropy_coefficient, config.entropy_final, config.entropy_anneal_episodes
        )

    @property
    def learning_rate(self) -> float:
        """Step size now: the configured one at this number of episodes, times ``rate_scale``."""
        config = self._config
        configured = self._annealed(
            config.learning_rate, config.learning_rate_final, config.learning_rate_anneal_episodes
        )
        return configured if config.target_kl is None else configured * self.rate_scale

    def update(self, rollout: Rollout, *, round_number: int) -> PPOUpdate:
        """Learns from one round and says how it went.

        An update that meets a number that is not finite stops there and says so in
        ``skipped``; no such number reaches weights or statistics.

        Args:
            rollout: Whole episodes, or episodes cut by the rollout's end.
            round_number: Counted from 1, for the event and for how minibatches are dealt.

        Raises:
            SimicError: If there are more minibatches than environments.
        """
        report = Report(
            round=round_number,
            learning_rate=self.learning_rate,
            entropy_coefficient=self.entropy_coefficient,
        )
        begin = time.perf_counter()
        lesson = self._prepare(rollout, report)
        middle = time.perf_counter()
        if lesson is not None:
            self._passes(lesson, report)
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
            "rate_scale": self.rate_scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` returned."""
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

    def _prepare(self, rollout: Rollout, report: Report) -> Lesson | None:
        report.skipped = _fault_of(rollout)
        if report.skipped is not None:
            return None
        observed = slice_observation(rollout.observation, 0, rollout.steps)
        self._policy.update_normalizer(observed, rollout.valid)
        before = self.units
        self._rewards.update(rollout.rewards, rollout.valid)
        units = replace(before, reward_scale=self._rewards.scale)
        evaluation, at_once = self._value(rollout)
        with torch.no_grad():
            seen = baselines(evaluation, rollout, units)
            batch = make_batch(rollout, seen, self._config, units=units)
            if not _finite(batch.returns, batch.advantages):
                report.skipped = "the critic's values are not finite"
                return None
            describe_batch(report, batch, seen, units)
            describe_evaluation(report, evaluation, batch, units)
        self._values.update(batch.returns[batch.valid])
        return Lesson(
            batch=batch,
            targets=self._values.normalize(batch.returns),
            old_log_probs=evaluation.log_probs[:-1].detach().clone(),
            old_distributions=evaluation.log_distributions[:-1].clone(),
            evaluation=_without_last(evaluation) if at_once else None,
        )

    def _value(self, rollout: Rollout) -> tuple[PolicyEvaluation, bool]:
        """Evaluates [T + 1, N]: what the last step led to is valued as well.

        Where a pass is one piece, this is the first pass too and keeps its gradient: the
        weights are the same, and running the sequence again would cost a tenth of an
        update.
        """
        at_once = self._config.minibatches == 1 and len(self._chunks(rollout.steps)) == 1
        actions = torch.cat((rollout.actions, torch.zeros_like(rollout.actions[:1])))
        starts = torch.cat((rollout.starts, torch.zeros_like(rollout.starts[:1])))
        state = self._policy.initial_state(rollout.environments)
        with torch.set_grad_enabled(at_once):
            return self._evaluate(rollout.observation, actions, state, starts), at_once

    def _evaluate(
        self, observation: Observation, actions: Tensor, state: PolicyState, starts: Tensor
    ) -> PolicyEvaluation:
        """Asks the policy, in mixed precision where that is wanted.

        bfloat16 has fp32's range, so gradients need no scaling.
        """
        device = observation.features.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._config.amp):
            return self._policy.evaluate(observation, actions, state, starts)

    def _passes(self, lesson: Lesson, report: Report) -> None:
        """Makes the passes, until a fault breaks one off."""
        shares = self._config.minibatches
        for index in range(self._config.epochs):
            parts = [lesson]
            if shares > 1:
                draw = (report.round, index)
                parts = [
                    lesson.of(each) for each in share_out(lesson.environments, shares, draw=draw)
                ]
            told: list[Told] = []
            complete = all(self._learn(part, told, report) for part in parts)
            whole = join(told)
            describe_pass(report, whole.terms, whole.counts.choosable)
            if not complete:
                break
            lesson.untouched = False
            report.passes = index + 1
        self._optimizer.drop_gradients()

    def _learn(self, part: Lesson, told: list[Told], report: Report) -> bool:
        """Makes one step and notes its terms; false where there was none to make."""
        counts = part.counts
        noting = part.untouched and not told
        terms = self._accumulate(part, counts, noting=noting)
        told.append(Told(terms=terms, counts=counts))
        if not _finite(terms.loss):
            report.skipped = f"the loss of pass {report.passes + 1} is not finite"
            return False
        self._set_learning_rate(terms.kl, report)
        norms = gradient_norms(self._policy)
        describe_gradients(report, norms)
        if not math.isfinite(norms.total):
            report.skipped = f"the gradient of pass {report.passes + 1} is not finite"
            return False
        report.kept.append(self._step(norms.total))
        return True

    def _set_learning_rate(self, kl: Tensor, report: Report) -> None:
        """Adapts the step size to the head that moved furthest; ``kl`` is by head, [heads]."""
        target = self._config.target_kl
        if target is not None:
            self.rate_scale = adapt_scale(self.rate_scale, float(kl.max()), target)
        report.learning_rate = self._optimizer.learning_rate = self.learning_rate

    def _accumulate(self, part: Lesson, counts: Counts, *, noting: bool) -> Terms:
        """Sums the gradients of all chunks.

        With ``noting``, what is found becomes the old policy. It differs from what the
        valuation found by rounding at most, and makes the ratio exactly 1.
        """
        batch, policy = part.batch, self._policy
        weights = self._weights(batch.advantages)
        self._optimizer.drop_gradients()
        state = policy.initial_state(part.environments)
        given, part.evaluation = part.evaluation, None
        collected = []
        for begin, end in self._chunks(part.steps):
            evaluation = given or self._evaluate(
                slice_observation(batch.observation, begin, end),
                batch.actions[begin:end],
                state,
                batch.starts[begin:end],
            )
            if noting:
                part.old_log_probs[begin:end] = evaluation.log_probs.detach()
                part.old_distributions[begin:end] = evaluation.log_distributions
            terms = ppo_terms(evaluation, part.piece(begin, end), counts, weights)
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

    def _step(self, norm: float) -> float:
        """Makes a step and returns the share of the gradient that clipping left."""
        limit = self._config.max_grad_norm
        kept = min(1.0, limit / norm) if norm > 0 else 1.0
        if kept < 1:
            for parameter in self._policy.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(kept)
        self._optimizer.step()
        return kept


def _without_last(evaluation: PolicyEvaluation) -> PolicyEvaluation:
    """Drops the row that is there to be bootstrapped from; the state is not read again."""
    return replace(
        evaluation,
        log_probs=evaluation.log_probs[:-1],
        log_distributions=evaluation.log_distributions[:-1],
        entropies=evaluation.entropies[:-1],
        choosable=evaluation.choosable[:-1],
        q_values=evaluation.q_values[:-1],
        value=evaluation.value[:-1],
    )


def _fault_of(rollout: Rollout) -> str | None:
    """Returns what of a rollout is not finite, or ``None``; padding does not count."""
    if not _finite(rollout.rewards[rollout.valid]):
        return BAD_REWARD
    if not _finite(rollout.observation.features[:-1][rollout.valid]):
        return BAD_OBSERVATION
    return None


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
