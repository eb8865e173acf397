"""Colours, shapes and text of the panels; readers with colour blindness can tell all apart."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

# Okabe and Ito's palette without yellow, which is hard to see on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")

MOST_RUNS = len(_COLOURS)
"""Most runs in a picture: as many as there are colours."""

OPS = {
    "WAIT": ("#D9D9D9", ""),
    "GERMINATE": ("#009E73", ""),
    "ADVANCE": ("#56B4E9", ""),
    "SET_ALPHA_TARGET": ("#0072B2", "//"),
    "FOSSILIZE": ("#E69F00", ""),
    "PRUNE": ("#D55E00", "xx"),
}
"""Colour and hatch of each op; other ops are black."""

STAGES = {
    "GERMINATED": "#CFE3F1",
    "TRAINING": "#8CC5EA",
    "BLENDING": "#2F8AC4",
    "HOLDING": "#0B4F7C",
    "FOSSILIZED": "#E69F00",
}
"""Colour of each stage: blues that darken up to the last one before a seed is kept."""

OTHER = "#000000"
MUTED = "#59636E"
FATES = {
    "fossilized": ("#E69F00", "o"),
    "pruned": ("#D55E00", "X"),
    "unfinished": ("#7F7F7F", "^"),
}
"""Colour and shape of what became of a seed."""


def run_style(number: int) -> dict[str, Any]:
    """Returns colour and shape of the run with this index."""
    return {"color": _COLOURS[number], "marker": _SHAPES[number]}


def prepare(axes: Axes, title: str) -> None:
    """Gives a panel its title and the look of all panels."""
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def say(axes: Axes, text: str) -> None:
    """Writes in an empty panel why it is empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#F6F8FA")
    axes.text(
        *(0.5, 0.5, text),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=MUTED,
        parse_math=False,
    )
