"""Draws an evaluation: accuracy against cost, a point for each episode."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from statistics import fmean
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from esper_leyline import printable
from esper_simic.evaluation import ArmResult, EpisodeResult, EvaluationResults

# Okabe and Ito's palette, which colour-blind readers can tell apart; shapes help the rest.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_INCHES = (10.0, 4.6)
_DPI = 120
_LEGEND = 28
"""Characters in a line of the legend; longer ones would squeeze the panels."""

_PANELS: tuple[tuple[str, Callable[[EpisodeResult], int | None]], ...] = (
    ("parameters of the final network", lambda episode: episode.parameters),
    (
        "FLOPs of training and validation, pruned seeds included",
        lambda episode: episode.total_flops,
    ),
)


def draw(results: EvaluationResults) -> bytes:
    """Returns the picture as a PNG."""
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for axes, (label, cost) in zip(panels, _PANELS, strict=True):
        for number, arm in enumerate(results.arms):
            _scatter(axes, arm, cost, number)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("test accuracy, %")
    _name_arms(panels[-1], results.arms)
    epochs, seeds = f"{results.config.max_epochs} epochs", len(results.rng_seeds)
    if any(arm.budget == "flops" for arm in results.arms):
        epochs += " (or equal FLOPs)"
    figure.suptitle(
        f"{results.task}: {epochs}, {seeds} unseen hosts ({results.seed_range.value}) an arm "
        "(small: one host; large: mean)",
        fontsize="medium",
        parse_math=False,
    )
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _name_arms(axes: Axes, arms: Sequence[ArmResult]) -> None:
    """Adds the legend; names are set afterwards, because matplotlib omits names like ``_x``."""
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for text, arm in zip(legend.get_texts(), arms, strict=True):
        text.set_parse_math(False)  # two `$` in the name of a file are no formula
        text.set_text(fill(printable(arm.label), _LEGEND))


def _scatter(
    axes: Axes, arm: ArmResult, cost: Callable[[EpisodeResult], int | None], number: int
) -> None:
    style: dict[str, Any] = {
        "color": COLOURS[number % len(COLOURS)],
        "marker": SHAPES[number % len(SHAPES)],
    }
    points = [(cost(episode), episode.test_accuracy) for episode in arm.episodes]
    known = [(x, y) for x, y in points if x is not None]
    axes.scatter(
        [x for x, _ in known], [y for _, y in known], s=18, alpha=0.55, linewidths=0, **style
    )
    axes.scatter(
        [fmean(x for x, _ in known)] if known else [],
        [arm.accuracy.value] if known else [],
        s=120,
        edgecolors="white",
        label=str(number),
        zorder=3,
        **style,
    )
