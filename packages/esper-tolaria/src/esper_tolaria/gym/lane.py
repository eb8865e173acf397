"""One host as gymnasium sees it: what is shown of it, and what its actions came to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from esper_leyline import FactoredAction, Op, RewardFunction, StepReport
from esper_tolaria.errors import TolariaError
from esper_tolaria.gym.masks import ActionMasks, Mask

_WAITING = "the host waits for its episode to begin; only WAIT is open"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What went otherwise than chosen since the episode began, in steps."""

    redirections: int = 0
    rejections: int = 0
    waited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An action as it is carried out, and how it differs from what was asked for."""

    action: FactoredAction
    redirected: bool = False
    rejection: str | None = None


class Lane:
    """Follows one host through its episodes."""

    def __init__(self, masks: ActionMasks, reward: RewardFunction) -> None:
        self._masks = masks
        self._reward = reward
        self._report: StepReport | None = None
        self._choice = Choice(action=FactoredAction())
        self._waiting = False
        self._tally = Tally()
        self._outcome: dict[str, Any] = {}

    @property
    def report(self) -> StepReport:
        """What is shown of the host now."""
        assert self._report is not None, "reset comes first"
        return self._report

    @property
    def started(self) -> bool:
        """Whether there has been an episode."""
        return self._report is not None

    @property
    def waiting(self) -> bool:
        """Whether the host is newborn and has to wait for the others' episodes to end."""
        return self._waiting

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.report.ended is not None

    def begin(self, report: StepReport, *, waiting: bool = False) -> None:
        """Shows a newborn host at the start of an episode."""
        self._report, self._waiting = report, waiting
        self._tally, self._outcome = Tally(), {}

    def wake(self, report: StepReport) -> None:
        """Ends the waiting; the episode goes on."""
        self._report, self._waiting = report, False

    def mask(self) -> Mask:
        """Returns the flat mask of the choices open now."""
        return self._masks.flat(self.report, waiting=self._waiting)

    def choose(self, indices: list[int]) -> FactoredAction:
        """Takes one index a head; returns the action that is carried out."""
        asked = FactoredAction.from_indices(indices).canonical()
        if self._waiting:
            refused = None if asked.op is Op.WAIT else _WAITING
            self._choice = Choice(action=FactoredAction(), rejection=refused)
        else:
            action = self._masks.redirect(asked, self.report)
            self._choice = Choice(action=action, redirected=action != asked)
        return self._choice.action

    def take(self, report: StepReport) -> float:
        """Takes in what the action led to; returns the reward, 0 while waiting.

        Raises:
            TolariaError: If the reward is not finite.
        """
        if self._waiting:
            self._tally.waited += 1
            self._note(self._choice.rejection)
            return 0.0
        paid = self._reward(self.report, self._choice.action, report)
        if not math.isfinite(paid.total):
            raise TolariaError(
                f"the reward of environment {report.environment} in epoch {report.epoch} is "
                f"{paid.total}; a reward must be finite, whatever the report holds"
            )
        self._report = report
        self._note(report.rejection)
        self._outcome["reward_components"] = dict(paid.components)
        return paid.total

    def info(self) -> dict[str, Any]:
        """Describes the state shown and the step that led to it; leaves out what is missing."""
        report = self.report
        measured = {
            "val_loss": report.val_loss,
            "val_accuracy": report.val_accuracy,
            "train_loss": report.train_loss,
            "train_accuracy": report.train_accuracy,
            "ended": None if report.ended is None else report.ended.value,
            "rollback": None if report.rollback is None else report.rollback.cause.value,
        }
        return {
            "action_mask": self.mask(),
            "slot_mask": self._masks.slots(report, waiting=self._waiting),
            "seed": report.seed,
            "epoch": report.epoch,
            "parameters": report.total_parameters,
            "waiting": self._waiting,
            "waited": self._tally.waited,
            "redirections": self._tally.redirections,
            "rejections": self._tally.rejections,
            **self._outcome,
            **{name: value for name, value in measured.items() if value is not None},
        }

    def _note(self, rejection: str | None) -> None:
        choice = self._choice
        self._tally.redirections += choice.redirected
        self._tally.rejections += rejection is not None
        self._outcome = {
            "action": np.array(choice.action.indices(), dtype=np.int64),
            "redirected": choice.redirected,
            "rejected": rejection is not None,
        }
        if rejection is not None:
            self._outcome["rejection"] = rejection
