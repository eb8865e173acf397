"""Panels of the policy: its latest update by head, and its ops."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.run import RunState
from esper_leyline.wire import Float


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
        q_mean: Mean Q(s, op) over the steps in which it was open, in reward units.
        q_variance: Its variance over those steps.
        valid_steps: How many there were.
    """

    op: str
    q_mean: Float | None
    q_variance: Float | None
    valid_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The latest update of the policy; empty before the first.

    Attributes:
        skipped: Why nothing was updated, or ``None``.
        q_spread: Largest minus smallest mean Q of the ops.
    """

    round: int | None
    policy_loss: Float | None
    value_loss: Float | None
    entropy: Float | None
    kl: Float | None
    clip_fraction: Float | None
    explained_variance: Float | None
    gradient_norm: Float | None
    learning_rate: Float | None
    skipped: str | None
    heads: tuple[HeadView, ...]
    ops: tuple[OpView, ...]
    q_spread: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Mean reward of the latest round in which an episode ended, by component."""

    round: int
    episodes: int
    components: dict[str, Float]


def policy(state: RunState) -> Policy:
    """Selects the latest update of the policy."""
    found = state.update
    update = found.payload if found else None
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
        ops=tuple(
            OpView(
                op=each.op,
                q_mean=each.mean,
                q_variance=each.variance,
                valid_steps=each.valid_steps,
            )
            for each in update.q_values
        )
        if update
        else (),
        q_spread=update.q_spread if update else None,
    )


def rewards(state: RunState) -> Rewards:
    """Selects the mean reward of the latest round by component."""
    sums = state.rewards
    return Rewards(round=sums.round, episodes=sums.episodes, components=sums.means())
