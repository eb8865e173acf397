"""Panels over rounds: accuracy and return, a line for each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from esper_karn.analytics.plots.plot_data import PlottedRun
from esper_karn.analytics.plots.style import MUTED, prepare, run_style, say
from esper_karn.comparison.curves import Point

MOST_MARKERS = 40
"""Markers on all lines together; with more rounds, some of them have one."""


def draw_curves(
    axes: Axes,
    runs: Sequence[PlottedRun],
    title: str,
    unit: str,
    curve: Callable[[PlottedRun], Sequence[Point]],
) -> None:
    """Draws a value over rounds. One that is not finite is a gap, with a cross below it.

    Args:
        axes: Where to draw.
        runs: A line each.
        title: Of the panel.
        unit: Of the values.
        curve: The values of a run.
    """
    prepare(axes, title)
    if not any(curve(run) for run in runs):
        say(axes, "no round has ended")
        return
    gaps = []
    for number, run in enumerate(runs):
        points = [(at, _plain(value)) for at, value in curve(run)]
        style = run_style(number)
        step = max(1, len(points) * len(runs) // MOST_MARKERS)
        axes.plot(
            [at for at, _ in points],
            [value for _, value in points],
            linewidth=1.6 if len(runs) < 4 else 1.1,
            markersize=5,
            markevery=(number * step // len(runs), step),
            **style,
        )
        gaps += [(at, style["color"]) for at, value in points if math.isnan(value)]
    if gaps:
        _mark_gaps(axes, gaps)
    axes.set_xlabel("round")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    if len({at for run in runs for at, _ in curve(run)}) == 1:
        (only,) = {at for run in runs for at, _ in curve(run)}
        axes.set_xlim(only - 0.5, only + 0.5)
        axes.set_xticks([only])


def _plain(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _mark_gaps(axes: Axes, gaps: Sequence[tuple[int, str]]) -> None:
    axes.scatter(
        [at for at, _ in gaps],
        [0.02] * len(gaps),
        c=[colour for _, colour in gaps],
        marker="x",
        s=36,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        zorder=4,
    )
    axes.text(
        *(0.99, 0.06, "× not a finite number"),
        transform=axes.transAxes,
        ha="right",
        fontsize="small",
        color=MUTED,
    )
