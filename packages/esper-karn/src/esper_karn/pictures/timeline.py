"""The lower half of a picture: the stages of each slot, and accuracy, over epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esper_karn.formatting import format_signed
from esper_karn.pictures.svg import Drawing, Value, element, keyframes, label, note, path
from esper_karn.pictures.theme import SWEEP, Frame, tone
from esper_karn.views.growth import GrowthView, SeedView, SlotView, StageView
from esper_leyline import SeedStage, printable

LEFT = 76
"""Where epoch 0 is."""
TOP = 268
"""Where the first lane is."""
LANE = 30
"""Height of the lane of a slot."""
GAP = 8
"""Distance between two lanes."""
CURVE = 128
"""Height of the plot of accuracy."""
LINE = 16
"""Height of a line of text."""
CHARACTER = 7.5
"""Generous width of a character."""

_KINDS = {SeedStage.GERMINATED: "seed_germinated", SeedStage.FOSSILIZED: "seed_fossilized"}
"""The event of an entry into a stage; of the others it is ``seed_stage_changed``."""


def bottom_of(view: GrowthView) -> int:
    """Returns where the plot of accuracy ends."""
    return TOP + len(view.slots) * (LANE + GAP) + 22 + CURVE


def draw_timeline(view: GrowthView, frame: Frame) -> Drawing:
    """Draws the episode over epochs, behind a curtain that the animation draws aside."""
    timeline = _Timeline(view, frame)
    drawing = Drawing()
    drawing.add(*timeline.lanes(), *timeline.axes(), *timeline.curve())
    timeline.add_curtain(drawing)
    return drawing


class _Timeline:
    """The two plots, with one horizontal axis."""

    def __init__(self, view: GrowthView, frame: Frame) -> None:
        self._view = view
        self._frame = frame
        self._bottom = bottom_of(view)
        self._low, self._high, self._ticks = _axis([value for _, value in view.accuracy])

    def lanes(self) -> Iterator[str]:
        """Yields a lane per slot, with a bar per stage of its seeds."""
        for row, slot in enumerate(self._view.slots):
            top = TOP + row * (LANE + GAP)
            yield label(slot.slot, LEFT - 14, top + LANE / 2 + 5, class_="muted end")
            yield self._bar(0, self._frame.epochs, top, "var(--grid)", opacity=0.6)
            for span in slot.vacant:
                yield self._vacant(slot.slot, span, top)
            for seed in slot.seeds:
                # Stages that ended within their epoch are narrow: draw them on top.
                for span in sorted(seed.stages, key=lambda span: span.start == span.end):
                    yield self._stage(slot.slot, seed, span, top)
                if seed.pruned is not None:
                    yield self._cross(slot.slot, seed, seed.pruned, top)
            yield from self._names(slot, top)

    def axes(self) -> Iterator[str]:
        """Yields the grid and the numbers of the plot of accuracy."""
        right = self._frame.right
        for tick in self._ticks:
            y = self._y(tick)
            yield element("path", d=path([(LEFT, y), (right, y)]), stroke="var(--grid)")
            yield label(f"{tick:.0f} %", LEFT - 14, y + 4, class_="muted small end")
        for epoch in _epoch_ticks(self._frame.epochs):
            anchor = "end" if epoch == self._frame.epochs else "middle"
            where = self._x(epoch), self._bottom + 18
            yield label(f"{epoch}", *where, class_=f"muted small {anchor}")
        middle = (LEFT + right) / 2
        yield label("epoch", middle, self._bottom + 34, class_="muted small middle")

    def curve(self) -> Iterator[str]:
        """Yields accuracy, and a line from each fossilized seed down to it."""
        points = self._points()
        if not points:
            return
        area = [(points[0][0], self._bottom), *points, (points[-1][0], self._bottom)]
        yield element("path", d=path(area) + "Z", fill="var(--curve)", fill_opacity=0.07)
        fossils = [
            (seed, TOP + row * (LANE + GAP) + LANE)
            for row, slot in enumerate(self._view.slots)
            for seed in slot.seeds
            if seed.stages[-1].stage is SeedStage.FOSSILIZED
        ]
        for number, (seed, top) in enumerate(fossils):
            yield from self._fossil(seed, top, self._bottom - 10 - LINE * (number % 6))
        line: dict[str, Value] = {
            "stroke": "var(--curve)",
            "stroke_width": 2.4,
            "stroke_linejoin": "round",
        }
        yield element("path", d=path(points), fill="none", **line)

    def add_curtain(self, drawing: Drawing) -> None:
        """Adds what hides later epochs, the line at its edge, and the dot on the curve."""
        width, top = self._frame.right - LEFT, TOP - 6
        height = self._bottom - top
        moved = [(0.0, 0), (SWEEP, width), (100.0, width)]
        drawing.animate(
            keyframes("playhead", [(at, f"transform:translateX({x}px)") for at, x in moved])
        )
        area = {"x": LEFT, "y": top, "width": width, "height": height}
        edge = path([(LEFT, top), (LEFT, self._bottom)])
        drawing.add(
            element("clipPath", element("rect", **area | {"width": width + 1}), id="plot"),
            element(
                "g",
                element(
                    "g",
                    element("rect", fill="var(--card)", fill_opacity=0.78, **area),
                    element("path", d=edge, stroke="var(--ink)", stroke_width=1.5),
                    class_="moves",
                    style=f"transform:translateX({width}px);animation-name:playhead",
                ),
                clip_path="url(#plot)",
            ),
        )
        if self._view.accuracy:
            self._add_dot(drawing)

    def _add_dot(self, drawing: Drawing) -> None:
        epochs = [epoch for epoch, _ in self._view.accuracy]
        moves = [f"transform:translate({x:.1f}px,{y:.1f}px)" for x, y in self._points()]
        frames = [(self._frame.percent(at), move) for at, move in zip(epochs, moves, strict=True)]
        drawing.animate(keyframes("dot", [(0.0, moves[0]), *frames, (100.0, moves[-1])]))
        style = f"{moves[-1]};animation-name:dot"
        look: dict[str, Value] = {
            "fill": "var(--curve)",
            "stroke": "var(--card)",
            "stroke_width": 2,
        }
        drawing.add(element("circle", class_="moves", r=5.5, style=style, **look))

    def _stage(self, slot: str, seed: SeedView, span: StageView, top: float) -> str:
        text = f"{slot}: {seed.blueprint} {span.stage.name.lower()} from epoch {span.start}"
        if span.stage is SeedStage.FOSSILIZED and seed.contribution is not None:
            text += f", contribution {format_signed(seed.contribution, 1)} points"
        ramp = [each for each in seed.alpha if span.start <= each[0] < span.end]
        blends = span.stage is SeedStage.BLENDING and len(ramp) > 0
        color = tone(span.stage)
        start, end = span.start - 1, span.end - 1
        shapes = [self._bar(start, end, top, color, opacity=0.45 if blends else 1)]
        if blends:
            # The area below alpha, over the height of the lane.
            edge = [(self._x(epoch), top + LANE * (1 - alpha)) for epoch, alpha in ramp]
            corners = [(self._x(end), edge[-1][1]), (self._x(end), top + LANE)]
            outline = [(self._x(start), top + LANE), *edge, *corners]
            shapes.append(element("path", d=path(outline) + "Z", fill=color))
        kind = _KINDS.get(span.stage, "seed_stage_changed")
        return _event(kind, slot, span.stage, span.start, text, *shapes)

    def _cross(self, slot: str, seed: SeedView, epoch: int, top: float) -> str:
        x, y, size = self._x(epoch - 1), top + LANE / 2, 6
        cross = path([(x - size, y - size), (x + size, y + size)])
        cross += path([(x - size, y + size), (x + size, y - size)])
        look: dict[str, Value] = {
            "stroke": "var(--pruned)",
            "stroke_width": 3.2,
            "stroke_linecap": "round",
        }
        shapes = [
            element("circle", cx=x, cy=y, r=11, fill="var(--card)"),
            element("path", d=cross, **look),
        ]
        text = f"{slot}: {seed.blueprint} pruned in epoch {epoch}"
        return _event("seed_pruned", slot, SeedStage.PRUNED, epoch, text, *shapes)

    def _vacant(self, slot: str, span: StageView, top: float) -> str:
        left, right = self._x(span.start - 1), self._x(span.end - 1)
        return element(
            "rect",
            note("title", f"{slot}: {span.stage.name.lower()} from epoch {span.start}"),
            x=left,
            y=top + LANE / 2 - 1.5,
            width=right - left,
            height=3,
            fill="var(--pruned)",
            fill_opacity=0.35,
        )

    def _names(self, slot: SlotView, top: float) -> Iterator[str]:
        """Yields the names of seeds: on a fossilized one, or to the right of a pruned one."""
        starts = [self._x(seed.start - 1) for seed in slot.seeds]
        for seed, free in zip(slot.seeds, [*starts[1:], self._frame.right], strict=False):
            last, room = seed.stages[-1], CHARACTER * len(seed.blueprint)
            left, right = self._x(last.start - 1), self._x(last.end - 1)
            if last.stage is SeedStage.FOSSILIZED and right - left > room:
                middle = (left + right) / 2
                yield label(seed.blueprint, middle, top + LANE / 2 + 4.5, class_="on middle")
            elif seed.pruned is not None and right + 16 + room < free:
                yield label(seed.blueprint, right + 16, top + LANE / 2 - 4, class_="small muted")

    def _fossil(self, seed: SeedView, top: float, y: float) -> Iterator[str]:
        x = self._x(seed.stages[-1].start - 1)
        look: dict[str, Value] = {
            "stroke": "var(--fossilized)",
            "stroke_width": 1.5,
            "stroke_dasharray": "4 4",
        }
        yield element("path", d=path([(x, top), (x, self._bottom)]), **look)
        if seed.contribution is not None:
            worth = f"{seed.blueprint} adds {format_signed(seed.contribution, 1)} points"
            yield label(worth, x + 8, y, class_="small grown bold")

    def _bar(self, start: float, end: float, top: float, color: str, *, opacity: float) -> str:
        return element(
            "rect",
            x=self._x(start),
            y=top,
            width=max(4, self._x(end) - self._x(start)),
            height=LANE,
            fill=color,
            fill_opacity=opacity,
        )

    def _points(self) -> list[tuple[float, float]]:
        return [(self._x(epoch), self._y(value)) for epoch, value in self._view.accuracy]

    def _x(self, epoch: float) -> float:
        return LEFT + epoch / self._frame.epochs * (self._frame.right - LEFT)

    def _y(self, value: float) -> float:
        return self._bottom - (value - self._low) / (self._high - self._low) * CURVE


def _event(kind: str, slot: str, stage: SeedStage, epoch: int, text: str, *shapes: str) -> str:
    """Returns the shapes of an event of the log, with its kind, slot and epoch as data."""
    return element(
        "g",
        note("title", text),
        *shapes,
        data_event=kind,
        data_slot=printable(slot),
        data_stage=stage.name,
        data_epoch=str(epoch),
    )


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Returns the limits of an axis of percentages, and its ticks."""
    low, high = min(values, default=0.0), max(values, default=100.0)
    step = 10 if high - low <= 40 else 20
    first, last = int(low // step) * step, -int(-high // step) * step
    last = max(last, first + step)
    return first, last, [float(tick) for tick in range(first, last + 1, step)]


def _epoch_ticks(epochs: int) -> list[int]:
    """Returns at most ten epochs, the last one among them, that are not too close."""
    step = next(step for step in (1, 2, 5, 10, 25, 50, 100, 10**9) if epochs / step <= 9)
    return [*(tick for tick in range(0, epochs, step) if epochs - tick >= step / 2), epochs]
