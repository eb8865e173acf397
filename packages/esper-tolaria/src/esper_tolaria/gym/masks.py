"""The open choices of the eight heads as one flat mask, and what a masked choice means.

A flat mask gives every head its own row of choices, so it cannot say that a slot is open
to one op and closed to another. It opens each op that some slot takes and each slot that
takes some op; where the two that were drawn do not go together, ``redirect`` keeps the op
and moves to the nearest slot that takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from esper_leyline import (
    CANONICAL_INDEX,
    HEADS,
    RELEVANT_HEADS,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    FactoredAction,
    Op,
    StepReport,
    head_sizes,
)

Mask = NDArray[np.bool_]

_OPS = tuple(Op)


class ActionMasks:
    """Builds the masks of one environment's hosts.

    An action drawn under ``flat`` and put through ``redirect`` is never refused.

    Attributes:
        sizes: Choices of each head, in ``HEADS`` order.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        sizes = head_sizes(len(spec.slots))
        self.sizes = tuple(sizes.values())
        self._slots = len(spec.slots)
        self._closed = {name: _only_canonical(size) for name, size in sizes.items()}
        self._open = {name: np.ones(size, dtype=np.bool_) for name, size in sizes.items()}
        # NOOP is in no task's blueprints.
        self._open["blueprint"] = np.array([each in spec.blueprints for each in Blueprint])
        self._open["style"] = np.array([each in spec.styles for each in BlendStyle])

    def slots(self, report: StepReport, *, waiting: bool = False) -> Mask:
        """Returns [ops, S]: the slots that each op may be aimed at, exactly.

        WAIT aims at the canonical slot; a closed op has no slot.

        Args:
            report: What the action would be taken on.
            waiting: Whether the host waits for its episode, so that only WAIT is open.
        """
        mask = np.zeros((len(_OPS), self._slots), dtype=np.bool_)
        mask[Op.WAIT, CANONICAL_INDEX] = True
        if waiting or report.ended is not None:
            return mask
        for slot, seed in enumerate(report.seeds):
            for op in seed.permitted:
                mask[op, slot] = True
        return mask

    def flat(self, report: StepReport, *, waiting: bool = False) -> Mask:
        """Returns [sum of ``sizes``]: the open choices of each head, one head after another.

        A head that no open op reads is left its canonical choice alone.
        """
        slots = self.slots(report, waiting=waiting)
        ops: Mask = np.any(slots, axis=1)
        read = {name for op in _OPS if ops[op] for name in RELEVANT_HEADS[op]}
        heads: dict[str, Mask] = {
            name: (self._open if name in read else self._closed)[name] for name in HEADS
        }
        heads["op"] = ops
        if "slot" in read:
            heads["slot"] = np.any(slots[Op.WAIT + 1 :], axis=0)
        return np.concatenate([heads[name] for name in HEADS])

    def split(self, flat: Mask) -> Mapping[str, Mask]:
        """Cuts flat masks [..., sum of ``sizes``] into one a head, [..., choices]."""
        ends = np.cumsum(self.sizes)[:-1]
        return dict(zip(HEADS, np.split(flat, ends, axis=-1), strict=True))

    def redirect(self, action: FactoredAction, report: StepReport) -> FactoredAction:
        """Returns the action with its slot moved to the nearest one that takes its op.

        Of two equally near slots it is the lower. An op that no slot takes, which no mask
        opens, is left as it is, for the environment to refuse.
        """
        if action.op is Op.WAIT:
            return action
        open_slots = np.flatnonzero(self.slots(report)[action.op]).tolist()
        if not open_slots or action.slot in open_slots:
            return action
        return replace(action, slot=min(open_slots, key=lambda slot: abs(slot - action.slot)))


def _only_canonical(size: int) -> Mask:
    mask = np.zeros(size, dtype=np.bool_)
    mask[CANONICAL_INDEX] = True
    return mask
