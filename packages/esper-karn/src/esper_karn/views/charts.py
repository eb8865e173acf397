"""The charts of a run: which series each draws, by the same names in every interface."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.run import RunState
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
    """

    __pydantic_config__ = WIRE_CONFIG

    charts: tuple[Chart, ...]
    steps_per_round: int | None
    empty: str | None


def charts(state: RunState) -> Charts:
    """Selects the charts of a run."""
    config = state.started.config if state.started else None
    found = []
    for name, title, unit, log, starts in _CHARTS:
        lines = tuple(
            ChartLine(series=series, label=_label(series))
            for start in starts
            for series in state.series
            if series == start or (start.endswith("/") and series.startswith(start))
        )
        if lines:
            found.append(Chart(name=name, title=title, unit=unit, log=log, lines=lines))
    return Charts(
        charts=tuple(found),
        steps_per_round=config.n_envs * config.max_epochs if config else None,
        empty=None if found else "no round has ended yet",
    )


def is_drawn(series: str) -> bool:
    """Whether a chart needs a series."""
    return series == "seconds_worked" or any(
        series == start or (start.endswith("/") and series.startswith(start))
        for *_, starts in _CHARTS
        for start in starts
    )


def _label(series: str) -> str:
    return series.rpartition("/")[2].replace("_", " ")


_CHARTS = (
    ("return", "mean return", "", False, ("mean_return",)),
    ("accuracy", "validation accuracy", "%", False, ("accuracy", "best_accuracy")),
    ("rewards", "reward by component", "", False, ("reward/",)),
    ("ops", "share of decisions by op", "", False, ("op_share/",)),
    ("q", "mean Q by op", "", False, ("q_mean/",)),
    ("losses", "losses of the policy", "", False, ("policy_loss", "value_loss")),
    ("entropy", "entropy, 1 is uniform", "", False, ("entropy", "entropy/")),
    ("kl", "KL divergence", "", True, ("kl",)),
    ("clip", "clip fraction", "", False, ("clip_fraction",)),
    ("critic", "explained variance", "", False, ("explained_variance",)),
    ("gradient", "gradient norm", "", True, ("gradient_norm", "gradient/")),
    ("seeds", "seeds by round", "", False, ("germinated", "fossilized", "pruned")),
    ("parameters", "parameters grown per host", "", False, ("grown_parameters",)),
    ("speed", "host epochs per second", "1/s", False, ("host_epochs_per_second",)),
    ("processor", "use of processors", "%", False, ("machine/cpu_percent", "machine/gpu_percent")),
    (
        "memory",
        "memory",
        "MB",
        False,
        ("machine/rss_mb", "machine/memory_mb", "machine/gpu_memory_mb"),
    ),
)
"""Name, title, unit, logarithmic scale, and series or starts of series of each chart."""
