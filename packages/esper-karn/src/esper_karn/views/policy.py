"""Panels of the policy: its latest update by head, and its ops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from esper_karn.state.run import RunState
from esper_karn.views.levels import why_empty
from esper_leyline import Op
from esper_leyline.events import PPOUpdate
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadView:
    """One head of the policy in the latest update; ``None`` where it was never relevant."""

    head: str
    entropy: Float | None
    gradient_norm: Float | None
    kl: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpView:
    """One op in the latest update.

    Attributes:
        chosen: How often it was chosen in the last round, ``None`` before the first.
        share: That over all decisions of the round, 0 to 1.
        q_mean: Mean Q(s, op) over the steps in which it was open, in reward units.
        q_deviation: Standard deviation over those steps; ``q_variance`` is its square.
        valid_steps: How many there were.
    """

    op: str
    chosen: int | None
    share: Float | None
    q_mean: Float | None
    q_deviation: Float | None
    q_variance: Float | None
    valid_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The latest update of the policy; empty before the first.

    Attributes:
        gradient_kept: What clipping left of the gradients; 1 is all.
        ratio_min: Smallest probability ratio, new over old; ``ratio_max`` the largest.
        passes: Passes over the rollout.
        seconds: Wall time by part.
        skipped: Why nothing was updated, or ``None``.
        ops: Every op that the update or the last round knows.
        q_spread: Largest minus smallest mean Q of the ops.
        ops_round: The round of their counts, ``None`` before the first.
        empty: Why there is no update to show, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    round: int | None
    policy_loss: Float | None
    value_loss: Float | None
    entropy: Float | None
    kl: Float | None
    clip_fraction: Float | None
    explained_variance: Float | None
    gradient_norm: Float | None
    learning_rate: Float | None
    ratio_min: Float | None
    ratio_max: Float | None
    advantage_mean: Float | None
    advantage_std: Float | None
    return_mean: Float | None
    return_std: Float | None
    lstm_hidden_norm: Float | None
    lstm_cell_norm: Float | None
    gradient_kept: Float | None
    entropy_coefficient: Float | None
    passes: int | None
    seconds: dict[str, Float]
    skipped: str | None
    heads: tuple[HeadView, ...]
    ops: tuple[OpView, ...]
    q_spread: Float | None
    ops_round: int | None
    empty: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Mean reward of the latest round in which an episode ended, by component.

    Attributes:
        total: Sum of the components, ``None`` before the first.
        empty: Why there is none, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    round: int
    episodes: int
    components: dict[str, Float]
    total: Float | None
    empty: str | None


def policy(state: RunState) -> Policy:
    """Selects the latest update of the policy."""
    found = state.update
    update = found.payload if found else None
    last = state.report.rounds.last
    return Policy(
        round=found.round if found else None,
        policy_loss=update.policy_loss if update else None,
        value_loss=update.value_loss if update else None,
        entropy=update.entropy if update else None,
        kl=update.kl if update else None,
        clip_fraction=update.clip_fraction if update else None,
        explained_variance=update.explained_variance if update else None,
        gradient_norm=update.gradient_norm if update else None,
        learning_rate=update.learning_rate if update else None,
        ratio_min=update.ratio_min if update else None,
        ratio_max=update.ratio_max if update else None,
        advantage_mean=update.advantage_mean if update else None,
        advantage_std=update.advantage_std if update else None,
        return_mean=update.return_mean if update else None,
        return_std=update.return_std if update else None,
        lstm_hidden_norm=update.lstm_hidden_norm if update else None,
        lstm_cell_norm=update.lstm_cell_norm if update else None,
        gradient_kept=update.gradient_kept if update else None,
        entropy_coefficient=update.entropy_coefficient if update else None,
        passes=update.passes if update else None,
        seconds=update.seconds if update else {},
        skipped=update.skipped if update else None,
        heads=tuple(
            HeadView(
                head=head,
                entropy=entropy,
                gradient_norm=update.head_gradient_norm.get(head),
                kl=update.head_kl.get(head),
            )
            for head, entropy in update.head_entropy.items()
        )
        if update
        else (),
        ops=_ops(update, last.ops if last else {}),
        q_spread=update.q_spread if update else None,
        ops_round=last.last if last else None,
        empty=_why_empty(state),
    )


def rewards(state: RunState) -> Rewards:
    """Selects the mean reward of the latest round by component."""
    sums = state.rewards
    means = sums.means()
    return Rewards(
        round=sums.round,
        episodes=sums.episodes,
        components=means,
        total=math.fsum(means.values()) if means else None,
        empty=why_empty(
            state, ["episode_outcome"], "no episode has ended yet", shown=sums.episodes > 0
        ),
    )


def _ops(update: PPOUpdate | None, counts: Mapping[str, int]) -> tuple[OpView, ...]:
    found = {each.op: each for each in update.q_values} if update else {}
    total = sum(counts.values())
    known = [op.name for op in Op if op.name in found or op.name in counts]
    views = []
    for name in (*known, *sorted({*found, *counts}.difference(known))):
        q_value = found.get(name)
        variance = q_value.variance if q_value else None
        views.append(
            OpView(
                op=name,
                chosen=counts.get(name, 0) if total else None,
                share=counts.get(name, 0) / total if total else None,
                q_mean=q_value.mean if q_value else None,
                q_deviation=None if variance is None else _root(variance),
                q_variance=variance,
                valid_steps=q_value.valid_steps if q_value else 0,
            )
        )
    return tuple(views)


def _root(variance: float) -> float:
    """Returns a standard deviation; NaN stays NaN, and rounding errors below 0 are 0."""
    return math.sqrt(variance) if not variance < 0 else 0.0


def _why_empty(state: RunState) -> str | None:
    if state.built is not None and state.built.policy_parameters is None:
        return "this run has no policy"
    return why_empty(
        state, ["ppo_update"], "no update of the policy yet", shown=state.update is not None
    )
