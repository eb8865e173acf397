"""Which choices of the factored action are valid: what the lifecycle and the task accept."""

from __future__ import annotations

from esper_leyline.actions import (
    ALPHA_SPEED_TICKS,
    ALPHA_TARGETS,
    CANONICAL_INDEX,
    TEMPO_EPOCHS,
    AlphaCurve,
    Op,
)
from esper_leyline.ports import EnvironmentSpec
from esper_leyline.reports import StepReport


def valid_slots(report: StepReport) -> dict[Op, tuple[int, ...]]:
    """Returns the slots in which each op is valid, by index; an op without any is left out.

    WAIT is always valid, in the canonical slot. After the end of an episode nothing else is.
    """
    slots: dict[Op, tuple[int, ...]] = {Op.WAIT: (CANONICAL_INDEX,)}
    if report.ended is not None:
        return slots
    for op in Op:
        found = tuple(index for index, seed in enumerate(report.seeds) if op in seed.permitted)
        if found:
            slots[op] = found
    return slots


def task_choices(spec: EnvironmentSpec) -> dict[str, tuple[int, ...]]:
    """Returns the valid choices of every head but ``op`` and ``slot``, by index.

    They are the same in every step. No task allows NOOP.
    """
    return {
        "blueprint": tuple(spec.blueprint_choices.index(name) for name in spec.blueprints),
        "style": tuple(spec.styles),
        "tempo": tuple(range(len(TEMPO_EPOCHS))),
        "alpha_target": tuple(range(len(ALPHA_TARGETS))),
        "alpha_speed": tuple(range(len(ALPHA_SPEED_TICKS))),
        "alpha_curve": tuple(AlphaCurve),
    }
