"""The masks of a policy's heads, as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from esper_leyline import CANONICAL_INDEX, EnvironmentSpec, Op, StepReport, head_sizes
from esper_leyline.masks import task_choices, valid_slots

_OPS = tuple(Op)


class MaskBuilder:
    """Builds the masks of an ``Observation`` for one environment's task."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._slots = len(spec.slots)
        sizes = head_sizes(len(spec.slots), spec.blueprint_choices)
        self._fixed = {
            name: torch.tensor([index in valid for index in range(sizes[name])])
            for name, valid in task_choices(spec).items()
        }

    def build(
        self, reports: Sequence[StepReport], device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """Builds the masks of N reports.

        Returns:
            All bool: ``op`` [N, ops]; ``slot`` [N, ops, S], in which the row of a closed op has
            only the canonical slot open; the other heads [N, choices], which are views of the
            task's mask.
        """
        rows = [valid_slots(report) for report in reports]
        op = [op in row for row in rows for op in _OPS]
        closed = (CANONICAL_INDEX,)
        slot = [
            index in aims
            for row in rows
            for aims in (row.get(op, closed) for op in _OPS)
            for index in range(self._slots)
        ]
        masks = {
            "op": torch.tensor(op, dtype=torch.bool).view(-1, len(_OPS)),
            "slot": torch.tensor(slot, dtype=torch.bool).view(-1, len(_OPS), self._slots),
        }
        device = device or torch.device("cpu")
        masks = {name: mask.to(device) for name, mask in masks.items()}
        self._fixed = {name: mask.to(device) for name, mask in self._fixed.items()}
        for name, mask in self._fixed.items():
            masks[name] = mask.expand(len(reports), -1)
        return masks
