"""Draws one episode: a network that grows over its epochs, as an animated SVG.

A line moves over the epochs, and the network shows what it is at that epoch. Without animation,
for example on paper or with reduced motion, the picture shows the end of the episode.
"""

from __future__ import annotations

from collections.abc import Iterator

from esper_karn.formatting import format_count, format_fixed
from esper_karn.pictures.network import ENDS, SLOT, draw_network
from esper_karn.pictures.svg import element, label, note
from esper_karn.pictures.theme import LEFT, STYLE, TONES, Frame, tone
from esper_karn.pictures.timeline import bottom_of, draw_timeline
from esper_karn.views.growth import GrowthView
from esper_leyline import SeedStage

LEAST_WIDTH = 960

_TITLE = "A network that grows while it trains"
_LEGEND = {
    SeedStage.GERMINATED: "germinated",
    SeedStage.TRAINING: "training, no effect yet",
    SeedStage.BLENDING: "blending by alpha",
    SeedStage.HOLDING: "holding",
    SeedStage.FOSSILIZED: "fossilized into the host",
    SeedStage.PRUNED: "pruned",
}


def growth_svg(view: GrowthView) -> str:
    """Returns the picture of an episode as the text of an SVG file.

    The picture is readable on light and on dark pages: it has a background of its own.
    """
    width = max(LEAST_WIDTH, 2 * (LEFT + ENDS) + SLOT * len(view.slots))
    frame = Frame(width=width, epochs=max(1, view.epochs))
    height = bottom_of(view) + 84
    card = {"width": width - 1, "height": height - 1, "rx": 12}
    network, timeline = draw_network(view.slots, frame), draw_timeline(view, frame)
    svg = element(
        "svg",
        note("title", _TITLE),
        note("desc", _description(view)),
        element("style", "\n".join((STYLE, *network.animations, *timeline.animations))),
        element("rect", x=0.5, y=0.5, fill="var(--card)", stroke="var(--edge)", **card),
        *_heading(view, frame),
        *network.elements,
        *timeline.elements,
        *_legend(view, frame, height - 22),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
    )
    return svg + "\n"


def _heading(view: GrowthView, frame: Frame) -> Iterator[str]:
    yield label(_TITLE, LEFT, 42, class_="head")
    run = " on ".join(each for each in (view.command, view.task) if each) or "a run"
    about = f"{run}, {view.epochs} epochs, drawn from the run's log"
    yield label(about, LEFT, 64, class_="muted")
    if view.accuracy:
        first, last = view.accuracy[0][1], view.accuracy[-1][1]
        change = f"{format_fixed(first, 0)} % to {format_fixed(last, 0)} %"
        yield label(change, frame.right, 42, class_="head end")
    built, final = view.host_parameters, view.host_parameters + view.grown_parameters
    sizes = f"{format_count(built)} to {format_count(final)} parameters"
    yield label(f"validation accuracy; {sizes}", frame.right, 64, class_="muted end")


def _legend(view: GrowthView, frame: Frame, y: float) -> Iterator[str]:
    seeds = [seed for slot in view.slots for seed in slot.seeds]
    used = {span.stage for seed in seeds for span in seed.stages}
    if any(seed.pruned is not None for seed in seeds):
        used.add(SeedStage.PRUNED)
    stages = [stage for stage in TONES if stage in used]
    lengths = [len(_LEGEND[stage]) * 6.6 + 34 for stage in stages]
    x = LEFT + max(0.0, (frame.right - LEFT - sum(lengths)) / 2)
    for stage, length in zip(stages, lengths, strict=True):
        yield element("rect", x=x, y=y - 10, width=12, height=12, rx=3, fill=tone(stage))
        yield label(_LEGEND[stage], x + 17, y, class_="muted small")
        x += length


def _description(view: GrowthView) -> str:
    parts = [
        f"{seed.blueprint} in {slot.slot}: "
        + ", ".join(f"{span.stage.name.lower()} from epoch {span.start}" for span in seed.stages)
        + ("" if seed.pruned is None else f", pruned in epoch {seed.pruned}")
        for slot in view.slots
        for seed in slot.seeds
    ]
    return "; ".join(parts) or "no seed germinated"
