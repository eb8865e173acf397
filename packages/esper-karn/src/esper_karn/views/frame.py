"""What changed of a view since an event: whole panels, and the changed tails of series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from esper_karn.errors import KarnError
from esper_karn.state.run import EnvironmentState, RunState
from esper_karn.state.series import Bucket
from esper_karn.views import hosts, policy, profile, summary
from esper_karn.views.host import HostView, host_view
from esper_leyline.events import SCHEMA_VERSION

HOST = "host/"
"""A view of one host is called by this and its environment, such as ``host/3``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelFrame:
    """A panel and the sequence number of the event that changed it last."""

    at: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFrame:
    """The buckets of a series from index ``start`` on; those before it are unchanged."""

    start: int
    buckets: tuple[Bucket, ...]


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
    panels: dict[str, PanelFrame]
    series: dict[str, SeriesFrame]


def frame(state: RunState, view: str, from_sequence: int = -1, *, generation: int = 0) -> Frame:
    """Returns what changed of a view since an event.

    Args:
        state: The run, at the moment to show.
        view: One of ``VIEWS``, or ``host/`` and the index of an environment.
        from_sequence: The last event that the reader's view knows; -1 for none. One after the
            state's own event gives the whole view, as a reader that goes back in time needs.
        generation: How often the log was replaced.

    Raises:
        KarnError: If there is no such view.
    """
    sequence = state.cursor.sequence
    known = from_sequence if -1 <= from_sequence <= sequence else -1
    panels = {
        name: PanelFrame(at=at, value=select(state))
        for name, (at, select) in _panels(state, view).items()
        if at > known or known < 0
    }
    series = {
        name: SeriesFrame(start=start, buckets=found.buckets_from(start))
        for name, found in state.series.items()
        if _shows(view, name) and (found.at > known or known < 0)
        for start in [found.unchanged_until(known) if known >= 0 else 0]
    }
    return Frame(
        stream=f"{state.run_id}:{SCHEMA_VERSION}:{generation}",
        from_sequence=known,
        to_sequence=sequence,
        panels=panels,
        series=series,
    )


_Panel = tuple[int, Callable[[RunState], Any]]
"""When a panel changed last, and what selects it."""


def _panels(state: RunState, view: str) -> dict[str, _Panel]:
    names = VIEWS.get(view)
    if names is not None:
        return {name: _panel(state, name) for name in names}
    for environment in state.environments:
        if view == f"{HOST}{environment.index}":
            selected = partial(_host, environment)
            return {"header": _panel(state, "header"), view: (environment.at, selected)}
    known = [*VIEWS, *(f"{HOST}{each.index}" for each in state.environments[:1])]
    raise KarnError(f"there is no view '{view}'; views: {', '.join(known)}")


def _host(environment: EnvironmentState, _state: RunState) -> HostView:
    return host_view(environment)


def _panel(state: RunState, name: str) -> _Panel:
    at, select = _PANELS[name]
    return at(state), select


def _shows(view: str, name: str) -> bool:
    return any(name.startswith(start) for start in _SERIES.get(view, ()))


def _latest(sequences: Iterable[int]) -> int:
    return max(sequences, default=-1)


_PANELS: Mapping[str, tuple[Callable[[RunState], int], Callable[[RunState], Any]]] = (
    MappingProxyType(
        {
            "header": (lambda state: state.cursor.sequence, summary.header),
            "phase": (lambda state: state.phase.sequence if state.phase else -1, summary.phase),
            "health": (
                lambda state: _latest(each.at for each in state.verdicts.values()),
                summary.health,
            ),
            "machine": (
                lambda state: _latest(
                    [
                        state.workers.at,
                        *(each.sequence for each in (state.vitals, state.throughput) if each),
                    ]
                ),
                summary.machine,
            ),
            "log": (lambda state: state.notices.at, summary.log_lines),
            "hosts": (
                lambda state: _latest(each.at for each in state.environments),
                hosts.hosts,
            ),
            "profiles": (
                lambda state: _latest(
                    [
                        state.report_at,
                        *(each.profile.sequence for each in state.environments if each.profile),
                    ]
                ),
                profile.profiles,
            ),
            "leaderboard": (lambda state: state.leaderboard.at, hosts.leaderboard),
            "policy": (lambda state: state.update_at, policy.policy),
            "rewards": (lambda state: state.rewards.at, policy.rewards),
        }
    )
)

VIEWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": tuple(_PANELS),
        "hosts": ("header", "phase", "health", "hosts", "profiles", "leaderboard"),
        "policy": ("header", "health", "policy", "rewards"),
        "charts": ("header",),
        "log": ("header", "log"),
    }
)
"""The panels of each view."""

_RUN = ("mean_return", "accuracy", "entropy")
_CHARTS = (
    *("mean_return", "accuracy", "best_accuracy", "grown_parameters", "entropy", "kl"),
    *("clip_fraction", "explained_variance", "policy_loss", "value_loss", "gradient_norm"),
    *("host_epochs_per_second", "seconds_worked", "machine/"),
)
_POLICY = ("entropy", "gradient", "q_", "kl", "clip_", "explained_", "policy_loss", "value_loss")
_SERIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"run": _RUN, "charts": _CHARTS, "policy": _POLICY}
)
"""How the names of the series of each view start."""
