"""The valid choices of the eight heads as one flat mask.

A flat mask has one row of choices per head, so it cannot express that a slot is valid for one
op and not for another. It allows each op that is valid in some slot, and each slot in which
some op is valid. If the sampled op is not valid in the sampled slot, ``resolve_slot`` keeps the
op and selects the nearest slot in which it is valid.
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
    EnvironmentSpec,
    FactoredAction,
    Op,
    StepReport,
    head_sizes,
)
from esper_leyline.masks import task_choices, valid_slots

Mask = NDArray[np.bool_]

_OPS = tuple(Op)


class ActionMasks:
    """Builds the masks of one environment's hosts.

    An action sampled under ``flat`` and passed through ``resolve_slot`` is never rejected.

    Attributes:
        sizes: Choices of each head, in ``HEADS`` order.
        blueprints: The choices of the blueprint head.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.blueprints = spec.blueprint_choices
        sizes = head_sizes(len(spec.slots), spec.blueprint_choices)
        self.sizes = tuple(sizes.values())
        self._slots = len(spec.slots)
        self._closed = {name: _only_canonical(size) for name, size in sizes.items()}
        self._open = {
            name: np.isin(np.arange(sizes[name]), valid)
            for name, valid in task_choices(spec).items()
        }

    def slots(self, report: StepReport, *, waiting: bool = False) -> Mask:
        """Returns the slots in which each op is valid, bool [ops, S].

        WAIT is valid in the canonical slot; an op that is not valid has no slot.

        Args:
            report: The state before the action.
            waiting: Whether the host waits for its episode; only WAIT is valid then.
        """
        mask = np.zeros((len(_OPS), self._slots), dtype=np.bool_)
        valid = {Op.WAIT: (CANONICAL_INDEX,)} if waiting else valid_slots(report)
        for op, slots in valid.items():
            mask[op, list(slots)] = True
        return mask

    def flat(self, report: StepReport, *, waiting: bool = False) -> Mask:
        """Returns the valid choices of all heads, concatenated, bool [sum of ``sizes``].

        A head that no valid op uses has only its canonical choice.
        """
        slots = self.slots(report, waiting=waiting)
        ops: Mask = np.any(slots, axis=1)
        read = {name for op in _OPS if ops[op] for name in RELEVANT_HEADS[op]}
        valid = {**self._open, "op": ops, "slot": np.any(slots[Op.WAIT + 1 :], axis=0)}
        return np.concatenate([(valid if name in read else self._closed)[name] for name in HEADS])

    def split(self, flat: Mask) -> Mapping[str, Mask]:
        """Splits flat masks [..., sum of ``sizes``] into one per head, [..., choices]."""
        ends = np.cumsum(self.sizes)[:-1]
        return dict(zip(HEADS, np.split(flat, ends, axis=-1), strict=True))

    def resolve_slot(self, action: FactoredAction, report: StepReport) -> FactoredAction:
        """Returns the action with the nearest slot in which its op is valid.

        Of two slots at the same distance it takes the lower one. An op that is valid in no
        slot is returned unchanged, and the environment rejects it.
        """
        if action.op is Op.WAIT:
            return action
        valid_slots = np.flatnonzero(self.slots(report)[action.op]).tolist()
        if not valid_slots or action.slot in valid_slots:
            return action
        return replace(action, slot=min(valid_slots, key=lambda slot: abs(slot - action.slot)))


def _only_canonical(size: int) -> Mask:
    mask = np.zeros(size, dtype=np.bool_)
    mask[CANONICAL_INDEX] = True
    return mask
