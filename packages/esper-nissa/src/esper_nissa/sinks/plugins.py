"""Sinks that other distributions add, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from esper_leyline import Registry
from esper_leyline.ports import TelemetrySink
from esper_leyline.registry import check_callable
from esper_nissa.errors import NissaError

SinkFactory = Callable[[Path], TelemetrySink]
"""Opens a sink for a run, given the run's folder."""


def _check(_name: str, part: object) -> SinkFactory:
    return check_callable(
        part,
        "a function that takes the folder of a run and returns a sink",
    )


SINKS: Registry[SinkFactory] = Registry("sink", "esper.sinks", _check)
"""Sinks that runs may write to besides their log; plugins declare them as ``esper.sinks``."""


def open_sinks(names: Sequence[str], folder: Path) -> tuple[TelemetrySink, ...]:
    """Opens sinks of plugins for a run.

    Args:
        names: Their names, as in ``telemetry.sinks``.
        folder: The run's folder.

    Raises:
        EsperError: If there is no such sink, it cannot be opened, or it cannot take events.
    """
    return tuple(_open(name, folder) for name in names)


def _open(name: str, folder: Path) -> TelemetrySink:
    try:
        sink = SINKS.get(name)(folder)
    except (OSError, ValueError, TypeError) as error:
        raise NissaError(f"sink '{name}' cannot be opened: {error}") from error
    missing = [part for part in ("emit", "close") if not callable(getattr(sink, part, None))]
    if missing:
        raise NissaError(f"sink '{name}' is a {type(sink).__name__} without '{missing[0]}'")
    return sink
