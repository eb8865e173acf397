"""The mode ``escrow``: what a seed earns is kept for it until it is committed.

Every epoch a blended seed earns its contribution. A fossil's earnings are paid out; those
of a live seed go to its account, which is paid when it is fossilized, emptied when it is
pruned and forfeited when the episode ends before either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esper_leyline import SeedStage, StepReport
from esper_simic.rewards.attribution import earning
from esper_simic.rewards.costs import alpha_shock, intervention, rent
from esper_simic.rewards.mistakes import warnings
from esper_simic.rewards.outcome import outcome
from esper_simic.rewards.potential import shaping
from esper_simic.rewards.step import Parts, Step
from esper_simic.rewards.worth import BLENDED_STAGES


def escrow() -> Parts:
    """Pays for contributions once the seed is committed; the rest is as in ``shaped``."""
    return {
        "shaping": shaping,
        "attribution": Escrow(),
        "rent": rent,
        "alpha_shock": alpha_shock,
        "warnings": warnings,
        "intervention": intervention,
        "terminal": _terminal,
    }


@dataclass(frozen=True, slots=True)
class _Accounts:
    """Those of one host's seeds by slot, as they stand after an epoch."""

    seed: int
    epoch: int
    held: Mapping[str, float]


class Escrow:
    """Keeps the accounts of all environments, each episode's apart.

    It must see the steps of an episode in order, as the loop over a round shows them.
    Accounts belong to consecutive epochs of one environment's host: a step that does not
    go on from the last one opens new ones, and the end of the episode closes them.
    """

    def __init__(self) -> None:
        self._accounts: dict[int, _Accounts] = {}

    def __call__(self, step: Step) -> float:
        """Takes in what the seeds earned and returns what is paid out.

        What a seed that is held to ransom earns in the step is lost to it, its account is
        not.
        """
        held, kept, paid = self._open(step.previous), {}, 0.0
        for seed in step.current.seeds:
            earned = earning(step, seed)
            if seed.slot in step.ransoms:
                earned = min(earned, 0.0)
            balance = held.get(seed.slot, 0.0) + earned
            if seed.stage is SeedStage.FOSSILIZED:
                paid += balance
            elif seed.stage in BLENDED_STAGES:
                kept[seed.slot] = balance
        self._close(step.current, kept)
        return 0.0 if step.crashed else step.config.attribution_weight * paid

    def _open(self, report: StepReport) -> Mapping[str, float]:
        accounts = self._accounts.get(report.environment)
        if accounts is None or (accounts.seed, accounts.epoch) != (report.seed, report.epoch):
            return {}
        return accounts.held

    def _close(self, report: StepReport, kept: Mapping[str, float]) -> None:
        if report.ended is None:
            accounts = _Accounts(seed=report.seed, epoch=report.epoch, held=kept)
            self._accounts[report.environment] = accounts
        else:
            self._accounts.pop(report.environment, None)


def _terminal(step: Step) -> float:
    return outcome(step, step.config.terminal_fossil_bonus, unpaid=step.ransoms)
