"""Panels about the policy: which ops it chose, and what it expects of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from esper_karn.analytics.plots.plot_data import PlottedRun
from esper_karn.analytics.plots.style import MUTED, OPS, OTHER, prepare, run_style, say

MOST_BARS = 60
"""Bars over rounds; with more rounds, a bar stands for several."""

Counts = Mapping[str, int]


def draw_ops(axes: Axes, runs: Sequence[PlottedRun], letters: Sequence[str]) -> None:
    """Draws the share of each op: of one run over rounds, of several a bar each."""
    prepare(axes, "actions")
    if len(runs) == 1:
        labels, counts = _over_rounds(runs[0].ops)
    else:
        labels = list(letters)
        counts = [_total(list(run.ops.values())) for run in runs]
    if not any(sum(each.values()) for each in counts):
        say(axes, "no action in a finished round")
        return
    names = _op_names(counts)
    bottom = [0.0] * len(counts)
    for name in names:
        colour, hatch = OPS.get(name, (OTHER, ""))
        shares = [each.get(name, 0) / max(1, sum(each.values())) for each in counts]
        axes.bar(
            range(len(counts)),
            shares,
            bottom=bottom,
            width=0.9 if len(counts) > 1 else 0.5,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.4,
        )
        bottom = [a + b for a, b in zip(bottom, shares, strict=True)]
    for place, each in enumerate(counts):
        if not sum(each.values()):
            axes.text(place, 0.5, "no round\nhas ended", ha="center", va="center", color=MUTED)
    _label_bars(axes, labels)
    axes.set_xlabel("round" if len(runs) == 1 else "run")
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1)
    patches = [
        Patch(
            facecolor=OPS.get(name, (OTHER, ""))[0],
            hatch=OPS.get(name, (OTHER, ""))[1],
            edgecolor="white",
            label=name.lower().replace("_", " "),
        )
        for name in reversed(names)
    ]
    axes.legend(
        handles=patches,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
    )


def draw_q_values(axes: Axes, runs: Sequence[PlottedRun]) -> None:
    """Draws Q by op after the last update: mean and standard deviation, a point for each run."""
    prepare(axes, "Q by action, last update")
    latest = [{op: each[-1] for op, each in run.q_values.items() if each} for run in runs]
    known = {op for each in latest for op, q in each.items() if math.isfinite(q.mean)}
    if not known:
        say(axes, "no Q value: no update, or no policy that learns")
        return
    ops = [op for op in OPS if op in known] + sorted(known - set(OPS))
    for number, run in enumerate(latest):
        shift = (number - (len(runs) - 1) / 2) * 0.7 / len(runs)
        shown = [(place, run[op]) for place, op in enumerate(ops) if op in run]
        style = run_style(number)
        axes.errorbar(
            [place + shift for place, _ in shown],
            [q.mean for _, q in shown],
            yerr=[q.deviation for _, q in shown],
            fmt=style["marker"],
            color=style["color"],
            markersize=6,
            capsize=3,
            linewidth=1.2,
        )
    names = [op.lower().replace("_", "\n") for op in ops]
    axes.set_xticks(range(len(ops)), names, fontsize="small")
    axes.set_xlim(-0.6, len(ops) - 0.4)
    axes.set_ylabel("Q ± standard deviation")
    axes.grid(alpha=0.25, axis="y")


def _over_rounds(ops: Mapping[int, Counts]) -> tuple[list[str], list[Counts]]:
    """Returns names and counts of bars, of which each stands for one round or more."""
    rounds = sorted(ops)
    size = max(1, math.ceil(len(rounds) / MOST_BARS))
    groups = [rounds[start : start + size] for start in range(0, len(rounds), size)]
    labels = [str(each[0]) if size == 1 else f"{each[0]}–{each[-1]}" for each in groups]
    return labels, [_total([ops[number] for number in each]) for each in groups]


def _label_bars(axes: Axes, labels: Sequence[str]) -> None:
    step = max(1, math.ceil(len(labels) * max(map(len, labels)) / 36))
    axes.set_xticks(range(0, len(labels), step), labels[::step])
    axes.set_xlim(-0.7, len(labels) - 0.3)


def _total(counts: Sequence[Counts]) -> Counts:
    names = dict.fromkeys(name for each in counts for name in each)
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


def _op_names(counts: Sequence[Counts]) -> list[str]:
    found = {name for each in counts for name, count in each.items() if count}
    return [name for name in OPS if name in found] + sorted(found - set(OPS))
