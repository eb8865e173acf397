"""Which reward modes there are, and how one is built from a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from esper_leyline import RewardConfig, RewardFunction
from esper_simic.errors import SimicError
from esper_simic.rewards.basic import basic, basic_by_loss
from esper_simic.rewards.basic_plus import basic_plus, basic_plus_by_loss
from esper_simic.rewards.composed import ComposedReward
from esper_simic.rewards.escrow import escrow, escrow_by_loss
from esper_simic.rewards.minimal import minimal, minimal_by_loss
from esper_simic.rewards.shaped import shaped, shaped_by_loss
from esper_simic.rewards.simplified import simplified, simplified_by_loss
from esper_simic.rewards.sparse import sparse, sparse_by_loss
from esper_simic.rewards.step import Parts

REWARDS: Mapping[tuple[str, str], Callable[[], Parts]] = MappingProxyType(
    {
        ("shaped", "contribution"): shaped,
        ("simplified", "contribution"): simplified,
        ("basic", "contribution"): basic,
        ("basic_plus", "contribution"): basic_plus,
        ("sparse", "contribution"): sparse,
        ("minimal", "contribution"): minimal,
        ("escrow", "contribution"): escrow,
        ("shaped", "loss"): shaped_by_loss,
        ("simplified", "loss"): simplified_by_loss,
        ("basic", "loss"): basic_by_loss,
        ("basic_plus", "loss"): basic_plus_by_loss,
        ("sparse", "loss"): sparse_by_loss,
        ("minimal", "loss"): minimal_by_loss,
        ("escrow", "loss"): escrow_by_loss,
    }
)
"""The parts of every reward by its mode and family, made anew by each call."""


def build_reward(config: RewardConfig, *, gamma: float) -> RewardFunction:
    """Builds the reward function that a configuration names.

    It serves all environments of one run of rounds: some modes remember each episode from
    its first step on.

    Args:
        config: Mode, family, weights, and the parts to leave out.
        gamma: The learner's discount; shaping telescopes only under this one.

    Raises:
        SimicError: If the mode has no part that is to be left out, or if none would be left.
    """
    parts = REWARDS[config.mode, config.family]()
    return ComposedReward(parts=_without(parts, config), config=config, gamma=gamma)


def _without(parts: Parts, config: RewardConfig) -> Parts:
    for name in config.ablate:
        if name not in parts:
            raise SimicError(
                f"reward.ablate names '{name}', which mode '{config.mode}' of family "
                f"'{config.family}' does not have; its parts: {', '.join(parts)}"
            )
    left = {name: part for name, part in parts.items() if name not in config.ablate}
    if not left:
        raise SimicError(
            f"reward.ablate leaves nothing of mode '{config.mode}'; keep one of its parts: "
            f"{', '.join(parts)}"
        )
    return left
