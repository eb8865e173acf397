"""The picture of runs: its panels, and the names of the runs above them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import wrap

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from esper_karn.analytics.database import RunsDatabase
from esper_karn.analytics.plots.curves_panel import draw_curves
from esper_karn.analytics.plots.plot_data import PlottedRun, read_run
from esper_karn.analytics.plots.policy_panels import draw_ops, draw_q_values
from esper_karn.analytics.plots.seed_panels import (
    draw_contributions,
    draw_lifelines,
    stage_handles,
)
from esper_karn.analytics.plots.style import MOST_RUNS, run_style
from esper_karn.comparison.comparison import one_task
from esper_karn.errors import KarnError

_WIDTH = 13.0
_DPI = 110
_PANEL = 3.1
"""Height of a panel in inches."""
_LANE = 0.46
"""Height of a slot's lane in inches."""
_NAME = 90
"""Characters in a line of a run's name."""


def plot_runs(database: RunsDatabase) -> bytes:
    """Draws all runs of a database as a PNG.

    Raises:
        KarnError: If there are too many to distinguish, or they trained different tasks.
    """
    names = [run.name for run in database.runs]
    if len(names) > MOST_RUNS:
        raise KarnError(
            f"a picture can show {MOST_RUNS} runs, and there are {len(names)}; name fewer"
        )
    tasks = dict(database.query("SELECT run, task FROM runs").rows)
    task = one_task({name: tasks[name] for name in names})
    return draw([read_run(database, name) for name in names], task)


def draw(runs: Sequence[PlottedRun], task: str) -> bytes:
    """Draws runs of one task as a PNG."""
    letters = [chr(ord("A") + number) for number in range(len(runs))]
    lines = [_name_lines(letter, run.name) for letter, run in zip(letters, runs, strict=True)]
    top = 0.45 + 0.21 * sum(map(len, lines))
    lanes = [_lanes_height(run) for run in runs]
    legend = 0.4
    heights = [top, _PANEL, _PANEL, _PANEL, *lanes, legend]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=_DPI, layout=layout)
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    rows[0].suptitle(f"task {task}", x=0.01, ha="left", fontweight="bold", parse_math=False)
    handles = [
        Line2D([], [], linewidth=1.6, markersize=6, label=str(number), **run_style(number))
        for number in range(len(runs))
    ]
    names = rows[0].legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.005, 0.0),
        frameon=False,
        borderaxespad=0,
    )
    for text, each in zip(names.get_texts(), lines, strict=True):
        text.set_parse_math(False)
        text.set_text("\n".join(each))
    left, right = rows[1].subplots(1, 2)
    draw_curves(left, runs, "validation accuracy, mean of a round", "%", lambda run: run.accuracy)
    draw_curves(right, runs, "return, mean of a round", "reward", lambda run: run.mean_return)
    left, right = rows[2].subplots(1, 2)
    draw_ops(left, runs, letters)
    draw_q_values(right, runs)
    draw_contributions(rows[3].subplots(), runs)
    for row, run, letter in zip(rows[4:-1], runs, letters, strict=True):
        draw_lifelines(row.subplots(), run, letter)
    rows[-1].legend(handles=stage_handles(), loc="center", ncols=6, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _name_lines(letter: str, name: str) -> list[str]:
    return wrap(f"{letter}  {name}", _NAME, subsequent_indent="   ", break_on_hyphens=False)


def _lanes_height(run: PlottedRun) -> float:
    slots = {each.slot for each in run.best.stretches} if run.best else ()
    return 0.85 + _LANE * max(1, len(slots))
