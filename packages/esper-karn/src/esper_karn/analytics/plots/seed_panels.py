"""Panels about seeds: what each contributed at its end, and the lives of those in one episode."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from esper_karn.analytics.plots.plot_data import BestEpisode, PlottedRun, SeedEnd, Stretch
from esper_karn.analytics.plots.style import FATES, MUTED, OTHER, STAGES, prepare, say
from esper_karn.comparison.curves import mean_of

_CHARACTER = 0.0075
"""Width of a character as a share of a lane; a name is left out where it would meet the next."""


def draw_contributions(axes: Axes, runs: Sequence[PlottedRun]) -> None:
    """Draws a point for each seed by blueprint, and a line at their mean."""
    which = "seeds" if len(runs) == 1 else "seeds of all runs"
    prepare(axes, f"contribution of {which} at their end")
    seeds = [seed for run in runs for seed in run.seeds]
    if not seeds:
        say(axes, "no seed's contribution was measured")
        return
    names = sorted({seed.blueprint for seed in seeds})
    for place, name in enumerate(names):
        mine = [seed for seed in seeds if seed.blueprint == name]
        for fate, (colour, shape) in FATES.items():
            _scatter(axes, place, [seed for seed in mine if seed.fate == fate], colour, shape)
        mean = mean_of([seed.contribution for seed in mine])
        axes.hlines(mean, place - 0.36, place + 0.36, color="black", linewidth=2, zorder=4)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    # A line of the axis has room for about a hundred characters.
    broken = len(names) <= 8 and len(names) * max(map(len, names)) > 100
    axes.set_xticks(
        range(len(names)),
        [name.replace("_", "_\n", 1) if broken else name for name in names],
        rotation=0 if len(names) <= 8 else 60,
        ha="center" if len(names) <= 8 else "right",
        rotation_mode="anchor" if len(names) > 8 else "default",
        fontsize="small",
        parse_math=False,
    )
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel("points of accuracy")
    axes.grid(alpha=0.25, axis="y")
    handles = [
        Line2D([], [], linestyle="", marker=shape, color=colour, label=fate)
        for fate, (colour, shape) in FATES.items()
    ]
    handles.append(Line2D([], [], color="black", linewidth=2, label="mean of all"))
    axes.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
    )


def draw_lifelines(axes: Axes, run: PlottedRun, letter: str) -> None:
    """Draws the stages of the seeds of a run's best episode, a lane for each slot."""
    best = run.best
    if best is None:
        prepare(axes, f"seeds of {letter}")
        say(axes, "no episode with an accuracy has ended")
        return
    prepare(
        axes,
        f"seeds of {letter}, best episode: round {best.round}, host {best.environment}, "
        f"{best.accuracy:.1f} % after {best.epochs} epochs",
    )
    if not best.stretches:
        reason = "no seed germinated" if best.has_epochs else "needs --telemetry-level normal"
        say(axes, reason)
        return
    slots = sorted({each.slot for each in best.stretches})
    for each in best.stretches:
        _draw_stretch(axes, slots.index(each.slot), each)
    _name_blueprints(axes, slots, best)
    lanes = [(slots.index(slot), epoch) for slot, epoch in best.pruned if slot in slots]
    axes.scatter(
        [epoch + 0.5 for _, epoch in lanes],
        [lane + 0.12 for lane, _ in lanes],
        marker="X",
        s=70,
        color=FATES["pruned"][0],
        edgecolors="white",
        zorder=4,
    )
    axes.set_yticks([lane + 0.12 for lane in range(len(slots))], slots)
    axes.set_ylim(len(slots) - 0.55, -0.6)
    axes.set_xlim(0.5, best.epochs + 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def stage_handles() -> list[Patch | Line2D]:
    """Returns the legend of the lifelines."""
    patches: list[Patch | Line2D] = [
        Patch(facecolor=colour, label=stage.lower()) for stage, colour in STAGES.items()
    ]
    pruned = Line2D(
        [], [], linestyle="", marker="X", markersize=8, color=FATES["pruned"][0], label="pruned"
    )
    return [*patches, pruned]


def _scatter(axes: Axes, place: int, seeds: Sequence[SeedEnd], colour: str, shape: str) -> None:
    # Points of one blueprint are spread evenly, so that the picture is the same each time.
    spread = [place + 0.3 * (((7 * number) % 13) / 6 - 1) for number in range(len(seeds))]
    axes.scatter(
        spread,
        [seed.contribution for seed in seeds],
        s=22,
        color=colour,
        marker=shape,
        alpha=0.75,
        linewidths=0,
    )


def _draw_stretch(axes: Axes, lane: int, stretch: Stretch) -> None:
    axes.barh(
        lane + 0.12,
        stretch.last - stretch.first + 1,
        left=stretch.first - 0.5,
        height=0.5,
        color=STAGES.get(stretch.stage, OTHER),
        edgecolor="white",
        linewidth=0.5,
    )


def _name_blueprints(axes: Axes, slots: Sequence[str], best: BestEpisode) -> None:
    """Writes the blueprint of each seed above the start of its life."""
    starts = [
        each
        for before, each in zip((None, *best.stretches), best.stretches, strict=False)
        if before is None or not _same_seed(before, each)
    ]
    for place, each in enumerate(starts):
        following = starts[place + 1] if place + 1 < len(starts) else None
        end = best.epochs + 1
        if following is not None and following.slot == each.slot:
            end = following.first
        if (end - each.first) / best.epochs < _CHARACTER * len(each.blueprint):
            continue
        axes.text(
            each.first - 0.5,
            slots.index(each.slot) - 0.16,
            each.blueprint,
            va="bottom",
            fontsize="small",
            parse_math=False,
        )


def _same_seed(before: Stretch, each: Stretch) -> bool:
    return (before.slot, before.blueprint, before.last) == (
        *(each.slot, each.blueprint, each.first - 1),
    )
