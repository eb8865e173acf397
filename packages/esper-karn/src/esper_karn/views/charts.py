"""The charts of a run: which series each draws, by the same names in every interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from esper_karn.state.run import RunState
from esper_karn.views.levels import level_needed, why_empty
from esper_leyline.wire import WIRE_CONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartLine:
    """A line of a chart: the name of its series, and what the legend says."""

    series: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart.

    Attributes:
        unit: Of its values; empty for plain numbers.
        log: Whether a logarithmic scale makes sense.
    """

    name: str
    title: str
    unit: str
    log: bool
    lines: tuple[ChartLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """The charts that have a sample, and how their positions are read.

    Positions are rounds; those of the machine are seconds.

    Attributes:
        steps_per_round: Host epochs of a round: a round times this is a step; ``None`` if not
            known. The series ``seconds_worked`` has the time of each round.
        empty: Why there is no chart, ``None`` if there is one.
        missing: Which charts the run's telemetry level does not record, and which level does;
            ``None`` if it records all of them.
    """

    __pydantic_config__ = WIRE_CONFIG

    charts: tuple[Chart, ...]
    steps_per_round: int | None
    empty: str | None
    missing: str | None


def charts(state: RunState) -> Charts:
    """Selects the charts of a run."""
    config = state.started.config if state.started else None
    lines = {each.name: _lines(each, state) for each in _CHARTS}
    return Charts(
        charts=tuple(
            Chart(
                name=each.name,
                title=each.title,
                unit=each.unit,
                log=each.log,
                lines=lines[each.name],
            )
            for each in _CHARTS
            if lines[each.name]
        ),
        steps_per_round=config.n_envs * config.max_epochs if config else None,
        empty=why_empty(
            state, ["round_completed"], "no round has ended yet", shown=any(lines.values())
        ),
        missing=_missing(state, [each for each in _CHARTS if not lines[each.name]]),
    )


def is_drawn(series: str) -> bool:
    """Whether a chart needs a series."""
    return series == "seconds_worked" or any(_has(each, series) for each in _CHARTS)


class _ChartKind(NamedTuple):
    """A chart that a run may have.

    Attributes:
        series: Names of its series; those that end in a slash are starts of names.
        kinds: The kinds of event from which they are made.
    """

    name: str
    title: str
    unit: str
    log: bool
    series: tuple[str, ...]
    kinds: frozenset[str]


def _lines(chart: _ChartKind, state: RunState) -> tuple[ChartLine, ...]:
    return tuple(
        ChartLine(series=series, label=_label(series))
        for start in chart.series
        for series in state.series
        if _begins(series, start)
    )


def _has(chart: _ChartKind, series: str) -> bool:
    return any(_begins(series, start) for start in chart.series)


def _begins(series: str, start: str) -> bool:
    return series == start or (start.endswith("/") and series.startswith(start))


def _missing(state: RunState, charts: list[_ChartKind]) -> str | None:
    """Says which of the charts without a sample are not recorded."""
    unrecorded = [each for each in charts if level_needed(state, each.kinds)]
    kinds = frozenset[str]().union(*(each.kinds for each in unrecorded))
    needed = level_needed(state, kinds) if unrecorded else None
    if needed is None:
        return None
    return f"not recorded: {', '.join(each.title for each in unrecorded)}; {needed}"


def _label(series: str) -> str:
    return series.rpartition("/")[2].replace("_", " ")


_ROUND = frozenset({"round_completed"})
_UPDATE = frozenset({"ppo_update"})
_VITALS = frozenset({"vitals"})

_CHARTS = (
    _ChartKind("return", "mean return", "", False, ("mean_return",), _ROUND),
    _ChartKind(
        "accuracy", "validation accuracy", "%", False, ("accuracy", "best_accuracy"), _ROUND
    ),
    _ChartKind(
        "rewards", "reward by component", "", False, ("reward/",), _ROUND | {"episode_outcome"}
    ),
    _ChartKind("ops", "share of decisions by op", "", False, ("op_share/",), _ROUND),
    _ChartKind("q", "mean Q by op", "", False, ("q_mean/",), _UPDATE),
    _ChartKind("losses", "losses of the policy", "", False, ("policy_loss", "value_loss"), _UPDATE),
    _ChartKind("entropy", "entropy, 1 is uniform", "", False, ("entropy", "entropy/"), _UPDATE),
    _ChartKind("kl", "KL divergence", "", True, ("kl",), _UPDATE),
    _ChartKind("clip", "clip fraction", "", False, ("clip_fraction",), _UPDATE),
    _ChartKind("critic", "explained variance", "", False, ("explained_variance",), _UPDATE),
    _ChartKind("gradient", "gradient norm", "", True, ("gradient_norm", "gradient/"), _UPDATE),
    _ChartKind(
        "seeds", "seeds by round", "", False, ("germinated", "fossilized", "pruned"), _ROUND
    ),
    _ChartKind("parameters", "parameters grown per host", "", False, ("grown_parameters",), _ROUND),
    _ChartKind(
        "speed",
        "host epochs per second",
        "1/s",
        False,
        ("host_epochs_per_second",),
        frozenset({"throughput"}),
    ),
    _ChartKind(
        "processor",
        "use of processors",
        "%",
        False,
        ("machine/cpu_percent", "machine/gpu_percent"),
        _VITALS,
    ),
    _ChartKind(
        "memory",
        "memory",
        "MB",
        False,
        ("machine/rss_mb", "machine/memory_mb", "machine/gpu_memory_mb"),
        _VITALS,
    ),
)
"""Every chart, in the order in which they are drawn."""
