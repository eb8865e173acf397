"""Events of the learner: decisions, updates, and what looks wrong about them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from esper_leyline.actions import FactoredAction
from esper_leyline.reports import Flag, RewardBreakdown
from esper_leyline.slots import SlotId
from esper_leyline.wire import Contract, Float


class HeadDecision(Contract):
    """What one head could choose and how likely each choice was.

    Attributes:
        probabilities: By index; zero where masked.
        valid: Whether each choice was open.
    """

    probabilities: tuple[Float, ...]
    valid: tuple[bool, ...]


class Decision(Contract):
    """One decision of a controller and its reward.

    Attributes:
        heads: Probabilities by head, only of heads that the op reads; empty for
            controllers without probabilities.
        value: V(s), the expected return, in reward units; ``None`` without a critic.
        q_values: Q(s, op) by op; ``None`` without one.
        forced: Whether nothing but WAIT was possible.
        reward: What the decision earned; ``None`` where nothing paid for it.
    """

    kind: Literal["decision"] = "decision"
    action: FactoredAction
    slot: SlotId | None
    succeeded: bool
    forced: bool
    heads: dict[str, HeadDecision] = Field(default_factory=dict)
    value: Float | None = None
    q_values: tuple[Float, ...] | None = None
    reward: RewardBreakdown | None = None


class QValue(Contract):
    """Q(s, op) of one op over a round.

    Attributes:
        mean: Mean over the steps in which the op was open, in reward units.
        variance: Its variance over those steps.
        valid_steps: How many there were.
    """

    op: str
    mean: Float | None
    variance: Float | None
    valid_steps: int


class PPOUpdate(Contract):
    """One round's update; means over valid, relevant steps.

    Attributes:
        kl: KL divergence of the last pass, old to new policy, of a whole decision: the sum of
            ``head_kl``.
        head_kl: The same by head, exact, mean over the decisions; ``None`` for a head that was
            never relevant. The learning rate follows the largest.
        learning_rate: Step size of the last step.
        passes: Passes over the rollout that were made; fewer than configured after a fault.
        head_entropy: Entropy by head, 1 being uniform over the open choices;
            ``None`` for a head that was never relevant.
        head_gradient_norm: Gradient norm by head, before clipping.
        gradient_kept: What clipping left of the gradients, mean over the steps: 1 is all.
        q_spread: Largest minus smallest mean Q of the ops, ``None`` if fewer than two.
        skipped: Why nothing was updated, or ``None``.
    """

    kind: Literal["ppo_update"] = "ppo_update"
    policy_loss: Float | None
    value_loss: Float | None
    entropy: Float | None
    head_entropy: dict[str, Float | None]
    head_gradient_norm: dict[str, Float | None]
    gradient_norm: Float | None
    gradient_kept: Float | None = None
    kl: Float | None
    head_kl: dict[str, Float | None] = Field(default_factory=dict)
    clip_fraction: Float | None
    ratio_min: Float | None
    ratio_max: Float | None
    explained_variance: Float | None
    advantage_mean: Float | None
    advantage_std: Float | None
    return_mean: Float | None
    return_std: Float | None
    lstm_hidden_norm: Float | None
    lstm_cell_norm: Float | None
    q_values: tuple[QValue, ...]
    q_spread: Float | None
    learning_rate: Float
    entropy_coefficient: Float
    passes: int
    seconds: dict[str, Float]
    skipped: str | None = None


class RatioExplosion(Contract):
    """Some probability ratio became very large."""

    kind: Literal["ratio_explosion"] = "ratio_explosion"
    ratio: Float
    threshold: Float


class RatioCollapse(Contract):
    """Some probability ratio became very small."""

    kind: Literal["ratio_collapse"] = "ratio_collapse"
    ratio: Float
    threshold: Float


class ValueCollapse(Contract):
    """The critic explains nothing of the returns."""

    kind: Literal["value_collapse"] = "value_collapse"
    explained_variance: Float
    threshold: Float


class EntropyCollapse(Contract):
    """A head all but stopped choosing."""

    kind: Literal["entropy_collapse"] = "entropy_collapse"
    head: str
    entropy: Float
    threshold: Float


class GradientPathology(Contract):
    """A gradient norm is far from ordinary.

    Attributes:
        where: A head, ``policy`` for the whole, or ``clipping``.
        norm: L2 norm before clipping; for ``clipping`` the share that it left.
    """

    kind: Literal["gradient_pathology"] = "gradient_pathology"
    where: str
    norm: Float
    threshold: Float


class NumericalInstability(Contract):
    """A NaN or an infinity appeared."""

    kind: Literal["numerical_instability"] = "numerical_instability"
    where: str
    consecutive: int


class RewardHackingSuspected(Contract):
    """A reward was withheld because its cause looks suspicious."""

    kind: Literal["reward_hacking_suspected"] = "reward_hacking_suspected"
    flag: Flag
