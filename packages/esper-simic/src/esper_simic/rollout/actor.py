"""What decides in an episode, and a decision as one environment sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from esper_leyline import Controller, FactoredAction, StepReport
from esper_leyline.events import HeadDecision
from esper_simic.errors import SimicError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One environment's action and what is known of how it came about.

    Attributes:
        action: What to do.
        forced: Whether nothing but WAIT was possible.
        heads: Probabilities of the heads that the op reads; empty where there are none.
        value: V(s) in reward units, ``None`` without a critic.
        q_values: Q(s, op) by op in reward units, ``None`` without a critic.
    """

    action: FactoredAction
    forced: bool
    heads: Mapping[str, HeadDecision] = field(default_factory=dict)
    value: float | None = None
    q_values: tuple[float, ...] | None = None


class Decider(Protocol):
    """Decides for all environments of a round."""

    def reset(self, rng_seeds: Sequence[int]) -> None:
        """Starts a round of one episode for each random seed."""

    def choose(self, reports: Sequence[StepReport]) -> list[Choice]:
        """Chooses one action an environment; those whose episode is over are not read."""

    def learn(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Takes in what the last choices earned and led to."""


class ControllerDecider:
    """Lets one controller decide for each environment; it learns nothing.

    Args:
        controllers: One an environment, in order.
    """

    def __init__(self, controllers: Sequence[Controller]) -> None:
        self._controllers = tuple(controllers)

    def reset(self, rng_seeds: Sequence[int]) -> None:
        """Starts a round of one episode for each random seed.

        Raises:
            SimicError: If there is not one controller for each.
        """
        if len(rng_seeds) != len(self._controllers):
            raise SimicError(
                f"{len(self._controllers)} controllers for {len(rng_seeds)} environments; "
                "give one each"
            )
        for controller, rng_seed in zip(self._controllers, rng_seeds, strict=True):
            controller.reset(rng_seed)

    def choose(self, reports: Sequence[StepReport]) -> list[Choice]:
        """Asks each controller whose episode goes on."""
        return [
            _wait() if report.ended is not None else _decide(controller, report)
            for controller, report in zip(self._controllers, reports, strict=True)
        ]

    def learn(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Forgets it."""


def _wait() -> Choice:
    return Choice(action=FactoredAction(), forced=True)


def _decide(controller: Controller, report: StepReport) -> Choice:
    forced = not any(seed.permitted for seed in report.seeds)
    return Choice(action=controller.decide(report), forced=forced)
