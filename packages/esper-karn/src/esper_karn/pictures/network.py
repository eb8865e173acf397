"""The upper half of a picture: host blocks on a line, and a branch for the seed of each slot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from esper_karn.pictures.svg import Drawing, element, keyframes, label, path
from esper_karn.pictures.theme import LEFT, Frame, tone
from esper_karn.views.growth import SeedView, SlotView
from esper_leyline import SeedStage

WIRE = 206
"""Vertical position of the line through the network."""
BRANCH = 128
"""Vertical position of the middle of the seeds."""
ENDS = 62
"""Width of the boxes of input and output."""
SLOT = 245
"""Least width of a host block with its slot."""
FAINTEST = 0.12
"""Least opacity of a seed, so that one of alpha 0 is visible."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the branch of a slot leaves and joins the line."""

    left: float
    right: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    @property
    def box(self) -> dict[str, float]:
        """Attributes of the box of a seed."""
        return {
            "x": self.left + 34,
            "y": BRANCH - 22,
            "width": self.right - self.left - 68,
            "height": 44,
            "rx": 10,
        }


def draw_network(slots: tuple[SlotView, ...], frame: Frame) -> Drawing:
    """Draws the network, whose seeds appear, change and disappear over the animation."""
    drawing = Drawing()
    drawing.add(element("path", class_="wire", d=path([(LEFT, WIRE), (frame.right, WIRE)])))
    drawing.add(*_block("input", LEFT, ENDS), *_block("output", frame.right - ENDS, ENDS))
    space = (frame.right - LEFT - 2 * ENDS) / max(1, len(slots))
    block = space * 0.36
    for number, slot in enumerate(slots):
        left = LEFT + ENDS + number * space + 10
        drawing.add(*_block(f"block {number + 1}", left, block))
        place = _Place(left + block, left + space - 10)
        drawing.add(
            element("rect", class_="vacant", **place.box),
            label(f"slot {slot.slot}", place.middle, WIRE + 26, class_="muted small middle"),
        )
        for index, seed in enumerate(slot.seeds):
            _add_seed(drawing, f"{number}-{index}", seed, place, frame)
    return drawing


def _add_seed(drawing: Drawing, name: str, seed: SeedView, place: _Place, frame: Frame) -> None:
    """Adds a seed, visible from germination on, with an opacity that follows its alpha."""
    drawing.animate(
        keyframes(f"presence-{name}", _presence(seed, frame)),
        keyframes(f"tone-{name}", _tones(seed, frame)),
    )
    alphas = _alphas(seed, frame)
    drawing.animate(
        keyframes(f"alpha-{name}", [(at, _opacity(alpha)) for at, alpha in alphas]),
        keyframes(f"ink-{name}", [(at, f"fill:{_ink(alpha)}") for at, alpha in alphas]),
    )
    final = alphas[-1][1]
    drawing.add(
        element(
            "g",
            _shape(name, seed, place, final),
            label(
                seed.blueprint,
                place.middle,
                BRANCH + 5,
                class_="middle bold steps",
                style=f"{_fitted(seed, place)}fill:{_ink(final)};animation-name:ink-{name}",
            ),
            class_="moves",
            style=f"animation-name:presence-{name}",
            opacity=1.0 if seed.pruned is None else 0.0,
        )
    )


def _shape(name: str, seed: SeedView, place: _Place, alpha: float) -> str:
    box = place.box
    into = _bend((place.left + 8, WIRE), (box["x"], BRANCH))
    out = _bend((box["x"] + box["width"], BRANCH), (place.right - 8, WIRE))
    return element(
        "g",
        element("path", class_="branch", d=into, stroke_opacity=0.8),
        element("rect", fill="var(--card)", stroke="currentColor", stroke_width=2, **box),
        element(
            "g",
            element("rect", fill="currentColor", **box),
            element("path", class_="branch", d=out),
            class_="moves",
            style=f"{_opacity(alpha)};animation-name:alpha-{name}",
        ),
        element("path", class_="branch", d=out, stroke_dasharray="2 5", stroke_opacity=0.6),
        class_="steps",
        style=f"color:{tone(seed.stages[-1].stage)};animation-name:tone-{name}",
    )


def _presence(seed: SeedView, frame: Frame) -> list[tuple[float, str]]:
    start = frame.percent(seed.start - 1)
    frames = [(0.0, "opacity:0"), (start, "opacity:0"), (start + 0.6, "opacity:1")]
    if seed.pruned is None:
        return [*frames, (100.0, "opacity:1")]
    end = frame.percent(seed.pruned - 1)
    return [*frames, (end + 1.2, "opacity:1"), (end + 3, "opacity:0"), (100.0, "opacity:0")]


def _tones(seed: SeedView, frame: Frame) -> list[tuple[float, str]]:
    stages = [(span.start, span.stage) for span in seed.stages]
    if seed.pruned is not None:
        stages.append((seed.pruned, SeedStage.PRUNED))
    frames = [(frame.percent(start - 1), f"color:{tone(stage)}") for start, stage in stages]
    return [(0.0, frames[0][1]), *frames, (100.0, frames[-1][1])]


def _alphas(seed: SeedView, frame: Frame) -> list[tuple[float, float]]:
    alphas = [(frame.percent(epoch), alpha) for epoch, alpha in seed.alpha]
    last = seed.stages[-1]
    if last.stage is SeedStage.FOSSILIZED:
        alphas.append((frame.percent(last.start), 1.0))
    alphas = alphas or [(0.0, 0.0)]
    return [(0.0, alphas[0][1]), *alphas, (100.0, alphas[-1][1])]


def _fitted(seed: SeedView, place: _Place) -> str:
    """Returns a smaller font for a name that is wider than the box of its seed."""
    size = (place.box["width"] - 12) / (0.62 * max(1, len(seed.blueprint)))
    return "" if size >= 13 else f"font-size:{size:.1f}px;"


def _opacity(alpha: float) -> str:
    shown = max(alpha, FAINTEST)
    return f"fill-opacity:{shown:.2f};stroke-opacity:{shown:.2f}"


def _ink(alpha: float) -> str:
    """Returns the colour of a name on a seed of that opacity."""
    return "var(--seedink)" if alpha >= 0.8 else "var(--ink)"


def _block(text: str, left: float, width: float) -> Iterator[str]:
    yield element("rect", x=left, y=WIRE - 21, width=width, height=42, rx=8, fill="var(--block)")
    yield label(text, left + width / 2, WIRE + 5, class_="onblock middle")


def _bend(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Returns the data of a path that leaves and arrives horizontally."""
    (x, y), (to_x, to_y) = start, end
    middle = (x + to_x) / 2
    return f"M{x:.1f},{y}C{middle:.1f},{y} {middle:.1f},{to_y} {to_x:.1f},{to_y}"
