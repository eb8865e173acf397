"""What changed of a view since an event: whole panels, and the changed tails of series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from esper_karn.errors import KarnError
from esper_karn.state.run import EnvironmentState, RunState
from esper_karn.state.series import Series
from esper_karn.views.charts import is_drawn
from esper_karn.views.decisions import DecisionsView, decisions
from esper_karn.views.host import HostView, host_view
from esper_karn.views.panels import PANELS, Panel
from esper_leyline.events import SCHEMA_VERSION

HOST = "host/"
"""A view of one host is called by this and its environment, such as ``host/3``."""

HOST_DECISIONS = "decisions/"
"""So is the panel of its decisions."""


class Point(NamedTuple):
    """A bucket of a series on the wire.

    Attributes:
        first: Position of its first sample, for example the number of a round.
        last: Position of its last sample.
        minimum: Smallest finite sample, ``None`` without one; likewise ``mean`` and ``maximum``.
        not_finite: Samples that were NaN or infinite.
    """

    first: int
    last: int
    minimum: float | None
    mean: float | None
    maximum: float | None
    not_finite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFrame:
    """A panel and the sequence number of the event that changed it last."""

    at: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFrame:
    """The buckets of a series from index ``start`` on; those before it are unchanged."""

    start: int
    buckets: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What changed of a view.

    Attributes:
        stream: Names the log; with another one all that is known of a view is void.
        from_sequence: The event after which this changed; -1 for the whole view.
        to_sequence: The event up to which this is known.
        panels: By name, each whole.
        series: By name, those that changed.
    """

    stream: str
    from_sequence: int
    to_sequence: int
    panels: dict[str, PanelFrame] = field(default_factory=dict)
    series: dict[str, SeriesFrame] = field(default_factory=dict)


def frame(
    state: RunState,
    view: str,
    from_sequence: int = -1,
    *,
    generation: str = "",
    extra: Mapping[str, object] = MappingProxyType({}),
) -> Frame:
    """Returns what changed of a view since an event.

    Args:
        state: The run, at the moment to show.
        view: One of ``VIEWS``, or ``host/`` and the index of an environment.
        from_sequence: The last event that the reader's view knows; -1 for none. One after the
            state's own event gives the whole view, as a reader that goes back in time needs.
        generation: Names the file of the log; another one after it was replaced.
        extra: Panels that do not follow from the log alone; they are always sent.

    Raises:
        KarnError: If there is no such view.
    """
    sequence = state.cursor.sequence
    known = from_sequence if -1 <= from_sequence <= sequence else -1
    panels = {
        name: PanelFrame(at=at, value=panel.select(state))
        for name, panel in _panels(state, view).items()
        # What a panel says of missing measurements follows from the run's own description.
        for at in [max(panel.at(state), state.report_at)]
        if at > known or known < 0
    }
    series = {
        name: _tail(found, known)
        for name, found in state.series.items()
        if _shows(view, name) and (found.at > known or known < 0)
    }
    return Frame(
        stream=f"{state.run_id}:{SCHEMA_VERSION}:{generation}",
        from_sequence=known,
        to_sequence=sequence,
        panels=panels
        | {name: PanelFrame(at=sequence, value=value) for name, value in extra.items()},
        series=series,
    )


def encode_frame(frame: Frame) -> bytes:
    """Returns a frame as JSON; NaN and infinities are strings."""
    panels = [
        b'%s:{"at":%d,"value":%s}' % (_text(name), panel.at, _json(panel.value))
        for name, panel in frame.panels.items()
    ]
    series = [
        b'%s:{"start":%d,"buckets":%s}'
        % (_text(name), tail.start, _points().dump_json(tail.buckets))
        for name, tail in frame.series.items()
    ]
    return b'{"stream":%s,"from":%d,"to":%d,"panels":{%s},"series":{%s}}' % (
        _text(frame.stream),
        frame.from_sequence,
        frame.to_sequence,
        b",".join(panels),
        b",".join(series),
    )


def _tail(series: Series, known: int) -> SeriesFrame:
    start = series.unchanged_until(known) if known >= 0 else 0
    return SeriesFrame(
        start=start,
        buckets=tuple(
            Point(
                first=each.first,
                last=each.last,
                minimum=each.minimum,
                mean=each.mean,
                maximum=each.maximum,
                not_finite=each.samples - each.finite,
            )
            for each in series.buckets_from(start)
        ),
    )


def _panels(state: RunState, view: str) -> dict[str, Panel]:
    names = VIEWS.get(view)
    if names is not None:
        return {name: PANELS[name] for name in names}
    for environment in state.environments:
        if view == f"{HOST}{environment.index}":
            return {"header": PANELS["header"], **_host_panels(environment)}
    known = [*VIEWS, *(f"{HOST}{each.index}" for each in state.environments[:1])]
    raise KarnError(f"there is no view '{view}'; views: {', '.join(known)}")


def _host_panels(environment: EnvironmentState) -> dict[str, Panel]:
    index = environment.index
    return {
        f"{HOST}{index}": Panel(HostView, lambda _: environment.at, partial(_host, environment)),
        f"{HOST_DECISIONS}{index}": Panel(
            DecisionsView,
            lambda state: state.decisions.at,
            partial(decisions, environment=index),
        ),
    }


def _host(environment: EnvironmentState, state: RunState) -> HostView:
    return host_view(environment, state)


def _shows(view: str, name: str) -> bool:
    if view == "charts":
        return is_drawn(name)
    return any(name.startswith(start) for start in _SERIES.get(view, ()))


def _json(panel: object) -> bytes:
    kind = type(panel)
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return adapter.dump_json(panel)


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


@cache
def _points() -> TypeAdapter[tuple[Point, ...]]:
    return TypeAdapter(tuple[Point, ...])


def _text(text: str) -> bytes:
    return _texts().dump_json(text)


@cache
def _texts() -> TypeAdapter[str]:
    return TypeAdapter(str)


VIEWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": tuple(name for name in PANELS if name not in {"decisions", "charts"}),
        "hosts": ("header", "phase", "health", "hosts", "profiles", "leaderboard"),
        "policy": ("header", "health", "policy", "rewards", "decisions"),
        "decisions": ("header", "decisions"),
        "charts": ("header", "charts"),
        "log": ("header", "phase", "log"),
        "status": ("header", "phase", "health", "machine", "log"),
    }
)
"""The panels of each view."""

_RUN = ("mean_return", "accuracy", "entropy")
_POLICY = ("entropy", "gradient", "q_", "kl", "clip_", "explained_", "policy_loss", "value_loss")
_SERIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"run": _RUN, "policy": _POLICY})
"""How the names of the series of each view start."""
