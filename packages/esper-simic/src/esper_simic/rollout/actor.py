"""Actors choose the actions of all environments in a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from esper_leyline import Controller, FactoredAction, StepReport
from esper_leyline.events import HeadDecision
from esper_leyline.ports import ExplainingController
from esper_simic.errors import SimicError


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorStep:
    """One environment's action, with the probabilities and values behind it.

    Attributes:
        action: The action.
        forced: Whether nothing but WAIT was possible.
        heads: Probabilities of the heads that the op reads; empty without probabilities.
        value: V(s) in reward units, ``None`` without a critic.
        q_values: Q(s, op) by op in reward units, ``None`` without a critic.
        reason: Why the controller chose it; ``None`` for a policy.
    """

    action: FactoredAction
    forced: bool
    heads: Mapping[str, HeadDecision] = field(default_factory=dict)
    value: float | None = None
    q_values: tuple[float, ...] | None = None
    reason: str | None = None


class Actor(Protocol):
    """Chooses the actions of all environments in a round."""

    def reset(self, rng_seeds: Sequence[int]) -> None:
        """Starts a round of one episode for each random seed."""

    def act(self, reports: Sequence[StepReport]) -> list[ActorStep]:
        """Chooses one action for each environment; those of ended episodes are not read."""

    def observe(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Receives the rewards of the last actions and the reports that followed."""


class ControllerActor:
    """Asks one controller for each environment; it does not learn.

    Args:
        controllers: One for each environment, in order.
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

    def act(self, reports: Sequence[StepReport]) -> list[ActorStep]:
        """Asks each controller whose episode is running."""
        return [
            _wait() if report.ended is not None else _decide(controller, report)
            for controller, report in zip(self._controllers, reports, strict=True)
        ]

    def observe(
        self,
        previous: Sequence[StepReport],
        rewards: Sequence[float],
        current: Sequence[StepReport],
    ) -> None:
        """Stores nothing."""


def _wait() -> ActorStep:
    return ActorStep(action=FactoredAction(), forced=True)


def _decide(controller: Controller, report: StepReport) -> ActorStep:
    forced = not any(seed.permitted for seed in report.seeds)
    action = controller.decide(report)
    reason = controller.reason if isinstance(controller, ExplainingController) else None
    return ActorStep(action=action, forced=forced, reason=reason)
