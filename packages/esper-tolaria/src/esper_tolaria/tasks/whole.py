"""What all tasks have in common."""

from __future__ import annotations

from esper_leyline import (
    HOST_SPECS,
    TOPOLOGY_BLUEPRINTS,
    BlendStyle,
    DataSpec,
    HostTraining,
    TaskSpec,
)


def whole_task(
    name: str,
    *,
    description: str,
    data: DataSpec,
    training: HostTraining,
    styles: tuple[BlendStyle, ...] = tuple(BlendStyle),
    min_fossilize_improvement: float = 0.5,
) -> TaskSpec:
    """Describes a task on the known host of its name, with all that may grow in it.

    Args:
        name: Of the task, and of its host among ``HOST_SPECS``.
        description: In a line.
        data: What the host learns.
        training: How.
        styles: The blend styles allowed; every one if not given.
        min_fossilize_improvement: Points of accuracy that rules ask of a seed that stays.
    """
    host = HOST_SPECS[name]
    return TaskSpec(
        name=name,
        description=description,
        host=host,
        data=data,
        training=training,
        slots=host.slots,
        blueprints=TOPOLOGY_BLUEPRINTS[host.topology],
        styles=styles,
        min_fossilize_improvement=min_fossilize_improvement,
    )
