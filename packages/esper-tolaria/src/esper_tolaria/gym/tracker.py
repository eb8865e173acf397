"""Tracks one host through its gymnasium episodes: observation, action, reward and info."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from esper_leyline import FactoredAction, Op, RewardFunction, StepReport
from esper_tolaria.errors import TolariaError
from esper_tolaria.gym.masks import ActionMasks, Mask

_WAITING = "the host waits for its episode to begin; only WAIT is valid"


@dataclass(slots=True, kw_only=True)
class Counters:
    """Steps of the episode in which the host did not carry out the requested action."""

    redirections: int = 0
    rejections: int = 0
    waited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedAction:
    """The action that is carried out, and how it differs from the requested one."""

    action: FactoredAction
    redirected: bool = False
    rejection: str | None = None


class EpisodeTracker:
    """Keeps one host's current report, its counters and what its last step returned."""

    def __init__(self, masks: ActionMasks, reward: RewardFunction) -> None:
        self._masks = masks
        self._reward = reward
        self._report: StepReport | None = None
        self._resolved = ResolvedAction(action=FactoredAction())
        self._waiting = False
        self._counters = Counters()
        self._outcome: dict[str, Any] = {}

    @property
    def report(self) -> StepReport:
        """The report of the current observation."""
        assert self._report is not None, "reset comes first"
        return self._report

    @property
    def started(self) -> bool:
        """Whether ``begin`` was called."""
        return self._report is not None

    @property
    def waiting(self) -> bool:
        """Whether the host was reset and waits until the other hosts' episodes end."""
        return self._waiting

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.report.ended is not None

    def begin(self, report: StepReport, *, waiting: bool = False) -> None:
        """Starts an episode with a fresh host's report."""
        self._report, self._waiting = report, waiting
        self._counters, self._outcome = Counters(), {}

    def stop_waiting(self, report: StepReport) -> None:
        """Continues the episode once all hosts were reset."""
        self._report, self._waiting = report, False

    def mask(self) -> Mask:
        """Returns the flat mask of the valid choices."""
        return self._masks.flat(self.report, waiting=self._waiting)

    def choose(self, indices: list[int]) -> FactoredAction:
        """Converts one index per head into the action that is carried out."""
        requested = FactoredAction.from_indices(indices, self._masks.blueprints).canonical()
        if self._waiting:
            rejection = None if requested.op is Op.WAIT else _WAITING
            self._resolved = ResolvedAction(action=FactoredAction(), rejection=rejection)
        else:
            action = self._masks.resolve_slot(requested, self.report)
            self._resolved = ResolvedAction(action=action, redirected=action != requested)
        return self._resolved.action

    def record_step(self, report: StepReport) -> float:
        """Stores the report after the action and returns the reward, 0 while waiting.

        Raises:
            TolariaError: If the reward is not finite.
        """
        if self._waiting:
            self._counters.waited += 1
            self._count(self._resolved.rejection)
            return 0.0
        reward = self._reward(self.report, self._resolved.action, report)
        if not math.isfinite(reward.total):
            raise TolariaError(
                f"the reward of environment {report.environment} in epoch {report.epoch} is "
                f"{reward.total}; a reward must be finite, whatever the report holds"
            )
        self._report = report
        self._count(report.rejection)
        self._outcome["reward_components"] = dict(reward.components)
        return reward.total

    def info(self) -> dict[str, Any]:
        """Returns the info of the current state and the last step, without missing values."""
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
            "seed": report.rng_seed,
            "epoch": report.epoch,
            "parameters": report.total_parameters,
            "waiting": self._waiting,
            "waited": self._counters.waited,
            "redirections": self._counters.redirections,
            "rejections": self._counters.rejections,
            **self._outcome,
            **{name: value for name, value in measured.items() if value is not None},
        }

    def _count(self, rejection: str | None) -> None:
        resolved = self._resolved
        self._counters.redirections += resolved.redirected
        self._counters.rejections += rejection is not None
        self._outcome = {
            "action": np.array(resolved.action.indices(self._masks.blueprints), dtype=np.int64),
            "redirected": resolved.redirected,
            "rejected": rejection is not None,
        }
        if rejection is not None:
            self._outcome["rejection"] = rejection
