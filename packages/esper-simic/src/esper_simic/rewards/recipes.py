"""The reward modes: which parts each mode has in each family, and how a reward is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from esper_leyline import (
    FactoredAction,
    Flag,
    LeylineError,
    Measurement,
    RewardBreakdown,
    RewardConfig,
    RewardFunction,
    SeedReport,
    StepReport,
    unknown_name,
)
from esper_simic.errors import SimicError
from esper_simic.rewards.contribution import (
    EscrowedContribution,
    attribution,
    on_fossilize,
    per_epoch,
    potential_credit,
    sum_terms,
)
from esper_simic.rewards.costs import (
    alpha_shock,
    early_prune,
    full_rent,
    intervention,
    rent,
    unmeasured_warnings,
    warnings,
)
from esper_simic.rewards.loss import (
    EscrowedLossDrop,
    FinalLossDrop,
    SustainedLossDrop,
    progress,
)
from esper_simic.rewards.plugins import ADDED_REWARDS, build_added
from esper_simic.rewards.shaping import shaping
from esper_simic.rewards.step import Parts, Step, read_step
from esper_simic.rewards.terminal import (
    accuracy_share,
    committed_accuracy,
    crash,
    outcome,
    terminal,
)

INFLATED_FLAG = "inflated_contribution"


def _shaped() -> Parts:
    """Dense rewards."""
    return {
        "shaping": shaping,
        "attribution": attribution,
        "rent": rent,
        "alpha_shock": alpha_shock,
        "warnings": warnings,
        "intervention": intervention,
        "terminal": terminal,
    }


def _shaped_by_loss() -> Parts:
    return {
        "shaping": shaping,
        "progress": progress,
        "rent": rent,
        "alpha_shock": alpha_shock,
        "warnings": unmeasured_warnings,
        "intervention": intervention,
        "terminal": terminal,
    }


def _simplified() -> Parts:
    """Rewards at the end; before that only potential-based shaping and costs of interventions."""
    return {"shaping": shaping, "intervention": intervention, "terminal": _simplified_terminal}


def _simplified_by_loss() -> Parts:
    final = FinalLossDrop(lambda config: config.terminal_accuracy_weight)
    return {"shaping": shaping, "intervention": intervention, "terminal": final}


def _basic() -> Parts:
    """Contribution, paid at once when a seed is fossilized, and rent."""
    return {"attribution": _at_once, "rent": rent, "terminal": crash}


def _basic_by_loss() -> Parts:
    return {"progress": progress, "rent": rent, "terminal": crash}


def _basic_plus() -> Parts:
    """``basic``, but a share of the reward is paid epoch by epoch.

    ``drip_fraction`` of the reward for fossilization is paid by the contribution of each epoch.
    With 0 it is ``basic``; with 1 its attribution is that of ``shaped``.
    """
    return {"attribution": _partly_at_once, "drip": _drip, "rent": rent, "terminal": crash}


def _basic_plus_by_loss() -> Parts:
    sustained = SustainedLossDrop()
    return {
        "progress": lambda step: (1.0 - step.config.drip_fraction) * progress(step),
        "drip": lambda step: step.config.drip_fraction * sustained(step),
        "rent": rent,
        "terminal": crash,
    }


def _sparse() -> Parts:
    """Nothing until the end; then the accuracy of the host with its fossils only, minus rent."""
    return {"rent": _final_rent, "terminal": _committed_accuracy}


def _sparse_by_loss() -> Parts:
    return {"rent": _final_rent, "terminal": FinalLossDrop(_full_weight)}


def _minimal() -> Parts:
    """``sparse``, and a charge for pruning seeds early."""
    return {"rent": _final_rent, "warnings": early_prune, "terminal": _committed_accuracy}


def _minimal_by_loss() -> Parts:
    return {"rent": _final_rent, "warnings": early_prune, "terminal": FinalLossDrop(_full_weight)}


def _escrow() -> Parts:
    """``shaped``, but contributions are paid when the seed is fossilized."""
    return {**_shaped(), "attribution": EscrowedContribution(), "terminal": _escrow_terminal}


def _escrow_by_loss() -> Parts:
    return {**_shaped_by_loss(), "progress": EscrowedLossDrop()}


REWARDS: Mapping[tuple[str, str], Callable[[], Parts]] = MappingProxyType(
    {
        ("shaped", "contribution"): _shaped,
        ("simplified", "contribution"): _simplified,
        ("basic", "contribution"): _basic,
        ("basic_plus", "contribution"): _basic_plus,
        ("sparse", "contribution"): _sparse,
        ("minimal", "contribution"): _minimal,
        ("escrow", "contribution"): _escrow,
        ("shaped", "loss"): _shaped_by_loss,
        ("simplified", "loss"): _simplified_by_loss,
        ("basic", "loss"): _basic_by_loss,
        ("basic_plus", "loss"): _basic_plus_by_loss,
        ("sparse", "loss"): _sparse_by_loss,
        ("minimal", "loss"): _minimal_by_loss,
        ("escrow", "loss"): _escrow_by_loss,
    }
)
"""The parts of each reward by mode and family; each call returns new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedReward:
    """Implements ``RewardFunction``: the reward of a step is the sum of its parts.

    Missing and non-finite numbers count as nothing, so every part is finite for every report.

    Attributes:
        parts: By name.
        config: Weights; its family decides whether counterfactuals are used.
        gamma: The learner's discount; shaping is potential-based under this one only.
    """

    parts: Parts
    config: RewardConfig
    gamma: float

    @property
    def requires(self) -> frozenset[Measurement]:
        """The counterfactuals that the parts need, besides each seed left out."""
        committed = _committed_accuracy in self.parts.values()
        return frozenset({Measurement.COMMITTED} if committed else ())

    def __call__(
        self, previous: StepReport, action: FactoredAction, current: StepReport
    ) -> RewardBreakdown:
        """Returns the reward of a transition.

        A seed whose contribution rose while accuracy fell is flagged
        ``inflated_contribution:<slot>``.
        """
        step = read_step(previous, action, current, self.config, self.gamma)
        return RewardBreakdown(
            components={name: part(step) for name, part in self.parts.items()},
            flags=tuple(Flag(kind=INFLATED_FLAG, slot=slot) for slot in step.inflated),
            notes=step.after.notes,
        )


def reward_modes() -> tuple[str, ...]:
    """Returns the name of every reward mode: built-in ones in the order of ``REWARDS``, others."""
    built_in = dict.fromkeys(mode for mode, _ in REWARDS)
    return (*built_in, *(name for name in ADDED_REWARDS.names() if name not in built_in))


def check_reward(config: RewardConfig) -> None:
    """Checks that there is a reward of the mode, and imports it if a plugin adds it.

    Raises:
        SimicError: If there is none, or settings do not go with it.
    """
    if (config.mode, config.family) in REWARDS:
        try:
            ADDED_REWARDS.check_built_in(config.mode)
        except LeylineError as error:
            raise SimicError(str(error)) from None
        return
    if config.mode not in ADDED_REWARDS:
        raise SimicError(unknown_name("reward mode", config.mode, reward_modes()))
    if config.ablate:
        raise SimicError(
            f"reward.ablate names parts of built-in modes, and '{config.mode}' is a plugin's; "
            "leave it empty"
        )
    try:
        ADDED_REWARDS.get(config.mode)
    except LeylineError as error:
        raise SimicError(str(error)) from None


def build_reward(config: RewardConfig, *, gamma: float) -> RewardFunction:
    """Builds the reward function of a configuration.

    One function serves all environments of a run, in order: some modes keep state from the first
    step of each episode on.

    Args:
        config: Mode, family, weights, and the parts to leave out.
        gamma: The learner's discount; shaping is potential-based under this one only.

    Raises:
        SimicError: If there is no such mode, a part that is left out does not exist, or no part
            remains.
    """
    check_reward(config)
    if config.mode in ADDED_REWARDS:
        return build_added(config, gamma)
    parts = REWARDS[config.mode, config.family]()
    return ComposedReward(parts=_without(parts, config), config=config, gamma=gamma)


def _without(parts: Parts, config: RewardConfig) -> Parts:
    for name in config.ablate:
        if name not in parts:
            raise SimicError(
                f"reward.ablate names '{name}', which mode '{config.mode}' of family "
                f"'{config.family}' does not have; its parts: {', '.join(parts)}"
            )
    remaining = {name: part for name, part in parts.items() if name not in config.ablate}
    if not remaining:
        raise SimicError(
            f"reward.ablate leaves nothing of mode '{config.mode}'; keep one of its parts: "
            f"{', '.join(parts)}"
        )
    return remaining


def _at_once(step: Step) -> float:
    return sum_terms(step, on_fossilize, potential_credit)


def _partly_at_once(step: Step) -> float:
    return sum_terms(step, _immediate, potential_credit)


def _immediate(step: Step, before: SeedReport, after: SeedReport) -> float:
    return (1.0 - step.config.drip_fraction) * on_fossilize(step, before, after)


def _drip(step: Step) -> float:
    return step.config.drip_fraction * sum_terms(step, per_epoch)


def _simplified_terminal(step: Step) -> float:
    return outcome(step, step.config.simplified_fossil_bonus, unpaid=step.inflated)


def _escrow_terminal(step: Step) -> float:
    return outcome(step, step.config.terminal_fossil_bonus, unpaid=step.inflated)


def _final_rent(step: Step) -> float:
    return 0.0 if step.current.ended is None else -full_rent(step.current, step.config)


def _committed_accuracy(step: Step) -> float:
    if step.current.ended is None or step.crashed:
        return crash(step)
    return accuracy_share(committed_accuracy(step.current))


def _full_weight(config: RewardConfig) -> float:  # noqa: ARG001 - of the form FinalLossDrop calls
    return 1.0
