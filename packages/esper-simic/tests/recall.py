"""A masked recall task over two heads whose optimum, with and without memory, is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

from esper_leyline import EnvironmentSpec, FactoredAction, Op, RewardBreakdown, StepReport
from esper_leyline.reports import SeedReport

from .toy_environments import PuzzleEnvironment

ASKED = (Op.FOSSILIZE, Op.ADVANCE)
SLOTS = ("r0c0", "r0c1", "r0c2")
OPTIMUM, WITHOUT_MEMORY = 1.0, 0.25
"""Return of an episode. Both halves of the cue are fair coins once it is gone: at the question
two ops are asked for and two of three slots are open, and which are says nothing of the cue, so
the best guess is right in one case of four."""


@dataclass
class TwoHeadRecall(PuzzleEnvironment):
    """The first report names an op and a slot; the last step asks for both.

    Everything follows from a host's seed: the op, the slot, and which slot is closed when
    the question comes. Accuracy shows the op, the alpha of a slot the slot.
    """

    length: int = 4

    @property
    def spec(self) -> EnvironmentSpec:
        return replace(super().spec, slots=SLOTS)

    def _open(self, report: StepReport) -> StepReport:
        asks = report.epoch == self.length - 1 and report.ended is None
        seeds = tuple(
            SeedReport(
                slot=slot,
                permitted=ASKED if asks and index != closed_slot(report.rng_seed) else (),
                alpha=float(report.epoch == 0 and index == cued_slot(report.rng_seed)),
            )
            for index, slot in enumerate(SLOTS)
        )
        return replace(report, seeds=seeds)


def cued_op(seed: int) -> Op:
    return ASKED[seed % 2]


def cued_slot(seed: int) -> int:
    return seed // 2 % 3


def closed_slot(seed: int) -> int:
    """One of the two that were not named."""
    return (cued_slot(seed) + 1 + seed // 6 % 2) % 3


def recall_reward(
    previous: StepReport, action: FactoredAction, current: StepReport
) -> RewardBreakdown:
    """1 for answering with the op and the slot of the cue, 0 otherwise."""
    right = action.op is cued_op(previous.rng_seed) and action.slot == cued_slot(previous.rng_seed)
    return RewardBreakdown(components={"recall": float(right)})
