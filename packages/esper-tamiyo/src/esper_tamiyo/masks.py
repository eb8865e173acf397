"""Which choices are open: what the lifecycle would really accept, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from esper_leyline import (
    ALPHA_SPEED_TICKS,
    ALPHA_TARGETS,
    CANONICAL_INDEX,
    TEMPO_EPOCHS,
    AlphaCurve,
    BlendStyle,
    EnvironmentSpec,
    Op,
    StepReport,
)

_OPS = tuple(Op)


def open_slots(report: StepReport) -> dict[Op, tuple[int, ...]]:
    """Returns, by op that is open, the slots that it may be aimed at.

    WAIT is always open and aims at the canonical slot. A finished episode leaves
    nothing but WAIT.
    """
    slots: dict[Op, tuple[int, ...]] = {Op.WAIT: (CANONICAL_INDEX,)}
    if report.ended is not None:
        return slots
    for op in _OPS[1:]:
        aims = tuple(index for index, seed in enumerate(report.seeds) if op in seed.permitted)
        if aims:
            slots[op] = aims
    return slots


class MaskBuilder:
    """Builds the masks of an ``Observation`` for one environment's task."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._slots = len(spec.slots)
        self._fixed = _fixed_masks(spec)

    def build(
        self, reports: Sequence[StepReport], device: torch.device | None = None
    ) -> dict[str, Tensor]:
        """Builds the masks of N reports.

        Returns:
            ``op`` [N, ops]; ``slot`` [N, ops, S], the row of a closed op holding the
            canonical slot alone so that every row has a choice; the other heads
            [N, choices], views that repeat the task's own mask. All bool.
        """
        rows = [open_slots(report) for report in reports]
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


def _fixed_masks(spec: EnvironmentSpec) -> dict[str, Tensor]:
    """The masks [choices] that depend on the task only; no task allows NOOP."""
    return {
        "blueprint": torch.tensor([name in spec.blueprints for name in spec.blueprint_choices]),
        "style": torch.tensor([style in spec.styles for style in BlendStyle]),
        "tempo": torch.ones(len(TEMPO_EPOCHS), dtype=torch.bool),
        "alpha_target": torch.ones(len(ALPHA_TARGETS), dtype=torch.bool),
        "alpha_speed": torch.ones(len(ALPHA_SPEED_TICKS), dtype=torch.bool),
        "alpha_curve": torch.ones(len(AlphaCurve), dtype=torch.bool),
    }
