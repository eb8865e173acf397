"""The mode ``escrow``: what a seed earns is kept for it until it is committed.

Every epoch a blended seed earns its contribution. A fossil's earnings are paid out; those
of a live seed go to its account, which is paid when it is fossilized, emptied when it is
pruned and forfeited when the episode ends before either.

A loss is the whole host's, so in that family there is one account: falls go into it while
any seed is on trial, and it is settled when none is.
"""

from __future__ import annotations

from collections.abc import Mapping

from esper_leyline import SeedStage
from esper_simic.rewards.attribution import earning
from esper_simic.rewards.committed import EscrowedFall
from esper_simic.rewards.memory import EpisodeMemory
from esper_simic.rewards.outcome import outcome
from esper_simic.rewards.shaped import shaped, shaped_by_loss
from esper_simic.rewards.step import Parts, Step
from esper_simic.rewards.worth import BLENDED_STAGES


def escrow() -> Parts:
    """Pays for contributions once the seed is committed; the rest is as in ``shaped``."""
    return {**shaped(), "attribution": Escrow(), "terminal": _terminal}


def escrow_by_loss() -> Parts:
    """Pays for a falling loss once what brought it about is committed."""
    return {**shaped_by_loss(), "progress": EscrowedFall()}


class Escrow:
    """Keeps the accounts of all environments by slot, each episode's apart."""

    def __init__(self) -> None:
        self._accounts = EpisodeMemory[Mapping[str, float]]()

    def __call__(self, step: Step) -> float:
        """Takes in what the seeds earned and returns what is paid out.

        What a seed that is held to ransom earns in the step is lost to it, its account is
        not.
        """
        held, kept, paid = self._accounts.recall(step.previous) or {}, {}, 0.0
        for seed in step.current.seeds:
            earned = earning(step, seed)
            if seed.slot in step.ransoms:
                earned = min(earned, 0.0)
            balance = held.get(seed.slot, 0.0) + earned
            if seed.stage is SeedStage.FOSSILIZED:
                paid += balance
            elif seed.stage in BLENDED_STAGES:
                kept[seed.slot] = balance
        self._accounts.keep(step.current, kept)
        return 0.0 if step.crashed else step.config.attribution_weight * paid


def _terminal(step: Step) -> float:
    return outcome(step, step.config.terminal_fossil_bonus, unpaid=step.ransoms)
