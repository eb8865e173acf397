"""Draws one episode: a network that grows over its epochs, as an animated SVG.

The upper half is the network: host blocks on a line, and a branch for the seed of each slot.
The lower half is the episode over epochs: the stages of each slot, and validation accuracy.
A line moves over the epochs, and the network shows what there is at that epoch. Where nothing
moves, as on paper or with reduced motion, the picture shows the end of the episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from esper_karn.formatting import format_count, format_fixed, format_signed
from esper_karn.pictures.svg import element, keyframes, label, note, path
from esper_karn.views.growth import GrowthView, SeedView, SlotView, StageView
from esper_leyline import SeedStage

WIDTH = 960
SECONDS = 16
"""Duration of the animation."""
SWEEP = 84.0
"""Percentage of the duration after which the last epoch is reached; the rest is a pause."""
LANE = 30
"""Height of the lane of a slot."""
GAP = 8
"""Distance between two lanes."""
CHARACTER = 7.5
"""Generous width of a character."""
FAINTEST = 0.12
"""Least opacity of a seed, so that one of alpha 0 is seen."""

_LEFT, _RIGHT = 76, 930
_WIRE = 206
"""Vertical position of the line through the network."""
_BRANCH = 128
"""Vertical position of the middle of the seeds."""
_LANES = 268

_TONES = {
    SeedStage.GERMINATED: "germinated",
    SeedStage.TRAINING: "training",
    SeedStage.BLENDING: "blending",
    SeedStage.HOLDING: "holding",
    SeedStage.FOSSILIZED: "fossilized",
    SeedStage.PRUNED: "pruned",
}
_EXPLANATIONS = {
    SeedStage.GERMINATED: "germinated",
    SeedStage.TRAINING: "training, no effect yet",
    SeedStage.BLENDING: "blending by alpha",
    SeedStage.HOLDING: "holding",
    SeedStage.FOSSILIZED: "fossilized into the host",
    SeedStage.PRUNED: "pruned",
}
_EVENT_KINDS = {
    SeedStage.GERMINATED: "seed_germinated",
    SeedStage.FOSSILIZED: "seed_fossilized",
}
"""What an entry into a stage is called in the log; of the others, ``seed_stage_changed``."""

_STYLE = """
svg{--card:#fff;--edge:#d0d7de;--ink:#1f2328;--muted:#59636e;--grid:#e6e9ed;--block:#4a5867;
--blockink:#fff;--germinated:#8fd0a0;--training:#1a9e5c;--blending:#1d78be;--holding:#134f94;
--fossilized:#b26a00;--pruned:#d1432f;--curve:#1f2328;--seedink:#fff}
@media (prefers-color-scheme:dark){svg{--card:#0f141a;--edge:#323a43;--ink:#e8edf2;
--muted:#98a3ae;--grid:#222a32;--block:#5d6d7e;--curve:#e8edf2;--germinated:#7cc490;
--training:#2fb673;--blending:#49a5ec;--holding:#3b82d6;--fossilized:#eba834;--pruned:#ec6350;--seedink:#0b0f14}}
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--ink)}
.head{font-size:21px;font-weight:600}.muted{fill:var(--muted)}.small{font-size:12px}
.middle{text-anchor:middle}.end{text-anchor:end}.bold{font-weight:600}.grown{fill:var(--fossilized)}
.on{fill:var(--seedink);font-weight:600;font-size:12px}
.onblock{fill:var(--blockink);font-weight:600}
.wire{stroke:var(--muted);stroke-width:2.5;fill:none}
.vacant{fill:none;stroke:var(--muted);stroke-dasharray:3 4;stroke-opacity:.55}
.branch{stroke:currentColor;stroke-width:2.5;fill:none}
.moves{animation-duration:%(seconds)ds;animation-iteration-count:infinite;
animation-timing-function:linear}
.steps{animation-duration:%(seconds)ds;animation-iteration-count:infinite;
animation-timing-function:step-end}
@media (prefers-reduced-motion:reduce){.moves,.steps{animation:none!important}}
"""


def growth_svg(view: GrowthView) -> str:
    """Returns the picture of an episode as the text of an SVG file."""
    return _Picture(view).draw()


@dataclass(frozen=True, slots=True)
class _Box:
    """The place of a slot in the network: its branch leaves and joins the line."""

    left: float
    right: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


class _Picture:
    """Collects the elements and the animations of one picture."""

    def __init__(self, view: GrowthView) -> None:
        self._view = view
        self._epochs = max(1, view.epochs)
        self._animations: list[str] = []
        self._dot = ""
        self._curve_top = _LANES + len(view.slots) * (LANE + GAP) + 22
        self._curve_bottom = self._curve_top + 128
        self._height = self._curve_bottom + 84

    def draw(self) -> str:
        body = [
            element(
                "rect",
                class_="card",
                x=0.5,
                y=0.5,
                width=WIDTH - 1,
                height=self._height - 1,
                rx=12,
                fill="var(--card)",
                stroke="var(--edge)",
            ),
            *self._heading(),
            *self._network(),
            *self._lanes(),
            *self._curve(),
            *self._playhead(),
            *self._legend(),
        ]
        style = _STYLE % {"seconds": SECONDS} + "\n".join(self._animations)
        return (
            element(
                "svg",
                note("title", "A network that grows while it trains"),
                note("desc", _description(self._view)),
                element("style", style),
                *body,
                xmlns="http://www.w3.org/2000/svg",
                viewBox=f"0 0 {WIDTH} {self._height}",
                role="img",
            )
            + "\n"
        )

    def _heading(self) -> Iterator[str]:
        view = self._view
        yield label("A network that grows while it trains", 28, 42, class_="head")
        what = " on ".join(each for each in (view.command, view.task) if each)
        about = f"{what}, {view.epochs} epochs, drawn from the run's log"
        yield label(about, 28, 64, class_="muted")
        if view.accuracy:
            first, last = view.accuracy[0][1], view.accuracy[-1][1]
            change = f"{format_fixed(first, 0)} % to {format_fixed(last, 0)} %"
            yield label(change, _RIGHT, 42, class_="head end")
        born, total = view.host_parameters, view.host_parameters + view.grown_parameters
        yield label(
            f"validation accuracy; {format_count(born)} to {format_count(total)} parameters",
            _RIGHT,
            64,
            class_="muted end",
        )

    def _network(self) -> Iterator[str]:
        slots = self._view.slots
        yield element("path", class_="wire", d=path([(28, _WIRE), (_RIGHT, _WIRE)]))
        space = (_RIGHT - 28 - 2 * 62) / max(1, len(slots))
        block = space * 0.36
        yield from _block("input", 28, 62)
        yield from _block("output", _RIGHT - 62, 62)
        for number, slot in enumerate(slots, 1):
            left = 28 + 62 + (number - 1) * space
            yield from _block(f"block {number}", left + 10, block)
            yield from self._slot(slot, _Box(left + 10 + block, left + space))

    def _slot(self, slot: SlotView, box: _Box) -> Iterator[str]:
        yield element(
            "rect",
            class_="vacant",
            x=box.left + 34,
            y=_BRANCH - 22,
            width=box.right - box.left - 68,
            height=44,
            rx=10,
        )
        yield label(f"slot {slot.slot}", box.middle, _WIRE + 26, class_="muted small middle")
        for number, seed in enumerate(slot.seeds):
            yield self._seed(f"{slot.slot}-{number}", seed, box)

    def _seed(self, name: str, seed: SeedView, box: _Box) -> str:
        """Draws a seed in the network: visible while it lives, as opaque as its alpha."""
        last = seed.stages[-1]
        self._animate_presence(name, seed)
        self._animate_tone(name, seed)
        self._animate_alpha(name, seed)
        alpha = 1.0 if last.stage is SeedStage.FOSSILIZED else (seed.alpha or ((0, 0.0),))[-1][1]
        x, width = box.left + 34, box.right - box.left - 68
        shape = {"x": x, "y": _BRANCH - 22, "width": width, "height": 44, "rx": 10}
        into = _bend((box.left + 8, _WIRE), (x, _BRANCH))
        out = _bend((x + width, _BRANCH), (box.right - 8, _WIRE))
        tone = element(
            "g",
            element("path", class_="branch", d=into, stroke_opacity=0.8),
            element("rect", fill="var(--card)", stroke="currentColor", stroke_width=2, **shape),
            element(
                "g",
                element("rect", fill="currentColor", **shape),
                element("path", class_="branch", d=out),
                class_="moves",
                style=f"animation-name:alpha-{name}",
                fill_opacity=max(alpha, FAINTEST),
                stroke_opacity=max(alpha, FAINTEST),
            ),
            element("path", class_="branch", d=out, stroke_dasharray="2 5", stroke_opacity=0.6),
            class_="steps",
            style=f"color:var(--{_TONES[last.stage]});animation-name:tone-{name}",
        )
        return element(
            "g",
            tone,
            label(
                seed.blueprint,
                box.middle,
                _BRANCH + 5,
                class_="middle bold steps",
                style=f"fill:var(--{_ink(alpha)});animation-name:ink-{name}",
            ),
            class_="moves",
            style=f"animation-name:presence-{name}",
            opacity=0.0 if seed.pruned else 1.0,
        )

    def _animate_presence(self, name: str, seed: SeedView) -> None:
        start = self._percent(seed.start - 1)
        frames = [(0.0, "opacity:0"), (start, "opacity:0"), (start + 0.6, "opacity:1")]
        if seed.pruned is None:
            frames.append((100.0, "opacity:1"))
        else:
            end = self._percent(seed.pruned - 1)
            frames += [(end + 1.2, "opacity:1"), (end + 3, "opacity:0"), (100.0, "opacity:0")]
        self._animations.append(keyframes(f"presence-{name}", frames))

    def _animate_tone(self, name: str, seed: SeedView) -> None:
        frames = [(0.0, f"color:var(--{_TONES[seed.stages[0].stage]})")]
        frames += [
            (self._percent(span.start - 1), f"color:var(--{_TONES[span.stage]})")
            for span in seed.stages
        ]
        if seed.pruned is not None:
            frames.append((self._percent(seed.pruned - 1), "color:var(--pruned)"))
        frames.append((100.0, frames[-1][1]))
        self._animations.append(keyframes(f"tone-{name}", frames))

    def _animate_alpha(self, name: str, seed: SeedView) -> None:
        values = [(self._percent(epoch), alpha) for epoch, alpha in seed.alpha]
        if seed.stages[-1].stage is SeedStage.FOSSILIZED:
            values.append((self._percent(seed.stages[-1].start), 1.0))
        values = values or [(0.0, 0.0)]
        frames = [(0.0, values[0][1]), *values, (100.0, values[-1][1])]
        opacity = [(at, max(alpha, FAINTEST)) for at, alpha in frames]
        self._animations += [
            keyframes(
                f"alpha-{name}",
                [(at, f"fill-opacity:{a:.2f};stroke-opacity:{a:.2f}") for at, a in opacity],
            ),
            keyframes(f"ink-{name}", [(at, f"fill:var(--{_ink(a)})") for at, a in frames]),
        ]

    def _lanes(self) -> Iterator[str]:
        for row, slot in enumerate(self._view.slots):
            top = _LANES + row * (LANE + GAP)
            yield label(slot.slot, _LEFT - 14, top + LANE / 2 + 5, class_="muted end")
            yield element(
                "rect",
                x=_LEFT,
                y=top,
                width=_RIGHT - _LEFT,
                height=LANE,
                rx=5,
                fill="var(--grid)",
                fill_opacity=0.6,
            )
            for span in slot.vacant:
                yield self._vacant(slot.slot, span, top)
            for seed in slot.seeds:
                yield from self._lane_of(slot.slot, seed, top)
            yield from self._pruned_names(slot, top)

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

    def _lane_of(self, slot: str, seed: SeedView, top: float) -> Iterator[str]:
        for span in seed.stages:
            yield self._span(slot, seed, span, top)
        last, y = seed.stages[-1], top + LANE / 2 + 4.5
        start, end = self._x(last.start - 1), self._x(last.end - 1)
        if last.stage is SeedStage.FOSSILIZED and end - start > CHARACTER * len(seed.blueprint):
            yield label(seed.blueprint, (start + end) / 2, y, class_="on middle")
        if seed.pruned is not None:
            yield self._prune_mark(slot, seed, top)

    def _pruned_names(self, slot: SlotView, top: float) -> Iterator[str]:
        """Yields the names of pruned seeds, to the right of them where there is room."""
        starts = [self._x(seed.start - 1) for seed in slot.seeds]
        for seed, free in zip(slot.seeds, [*starts[1:], _RIGHT], strict=False):
            if seed.pruned is None:
                continue
            x = self._x(seed.pruned - 1) + 16
            if x + CHARACTER * len(seed.blueprint) < free:
                yield label(seed.blueprint, x, top + LANE / 2 - 4, class_="small muted")

    def _span(self, slot: str, seed: SeedView, span: StageView, top: float) -> str:
        kind = _EVENT_KINDS.get(span.stage, "seed_stage_changed")
        left, right = self._x(span.start - 1), self._x(span.end - 1)
        text = f"{slot}: {seed.blueprint} {span.stage.name.lower()} from epoch {span.start}"
        if span.stage is SeedStage.FOSSILIZED and seed.contribution is not None:
            text += f", contribution {format_signed(seed.contribution, 1)} points"
        fill = f"var(--{_TONES[span.stage]})"
        ramp = [each for each in seed.alpha if span.start <= each[0] < span.end]
        blends = span.stage is SeedStage.BLENDING and len(ramp) > 0
        shapes = [
            element(
                "rect",
                x=left,
                y=top,
                width=max(1.5, right - left),
                height=LANE,
                fill=fill,
                fill_opacity=0.45 if blends else 1,
            )
        ]
        if blends:
            # The area below alpha, over the height of the lane.
            edge = [(self._x(epoch), top + LANE * (1 - alpha)) for epoch, alpha in ramp]
            outline = [(left, top + LANE), *edge, (right, edge[-1][1]), (right, top + LANE)]
            shapes.append(element("path", d=path(outline) + "Z", fill=fill))
        return element(
            "g",
            note("title", text),
            *shapes,
            data_event=kind,
            data_slot=slot,
            data_stage=span.stage.name,
            data_epoch=str(span.start),
        )

    def _prune_mark(self, slot: str, seed: SeedView, top: float) -> str:
        assert seed.pruned is not None
        x, y, size = self._x(seed.pruned - 1), top + LANE / 2, 6
        cross = path([(x - size, y - size), (x + size, y + size)])
        cross += path([(x - size, y + size), (x + size, y - size)])
        return element(
            "g",
            note("title", f"{slot}: {seed.blueprint} pruned in epoch {seed.pruned}"),
            element("circle", cx=x, cy=y, r=11, fill="var(--card)"),
            element(
                "path", d=cross, stroke="var(--pruned)", stroke_width=3.2, stroke_linecap="round"
            ),
            data_event="seed_pruned",
            data_slot=slot,
            data_stage="PRUNED",
            data_epoch=str(seed.pruned),
        )

    def _curve(self) -> Iterator[str]:
        top, bottom = self._curve_top, self._curve_bottom
        low, high, ticks = _range([value for _, value in self._view.accuracy])

        def y(value: float) -> float:
            return bottom - (value - low) / (high - low) * (bottom - top)

        for tick in ticks:
            yield element(
                "path", d=path([(_LEFT, y(tick)), (_RIGHT, y(tick))]), stroke="var(--grid)"
            )
            yield label(f"{tick:.0f} %", _LEFT - 14, y(tick) + 4, class_="muted small end")
        for epoch in _epoch_ticks(self._epochs):
            where = "muted small " + ("end" if epoch == self._epochs else "middle")
            yield label(f"{epoch}", self._x(epoch), bottom + 18, class_=where)
        yield label("epoch", (_LEFT + _RIGHT) / 2, bottom + 34, class_="muted small middle")
        points = [(self._x(epoch), y(value)) for epoch, value in self._view.accuracy]
        if not points:
            return
        area = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
        yield element("path", d=path(area) + "Z", fill="var(--curve)", fill_opacity=0.07)
        yield from self._fossil_lines()
        yield element(
            "path",
            d=path(points),
            fill="none",
            stroke="var(--curve)",
            stroke_width=2.4,
            stroke_linejoin="round",
        )
        self._dot = self._moving_dot(points)

    def _fossil_lines(self) -> Iterator[str]:
        """Draws a line from each fossilized seed down to the curve, with what it contributes."""
        for row, slot in enumerate(self._view.slots):
            for seed in slot.seeds:
                last = seed.stages[-1]
                if last.stage is not SeedStage.FOSSILIZED:
                    continue
                x, top = self._x(last.start - 1), _LANES + row * (LANE + GAP) + LANE
                yield element(
                    "path",
                    d=path([(x, top), (x, self._curve_bottom)]),
                    stroke="var(--fossilized)",
                    stroke_width=1.5,
                    stroke_dasharray="4 4",
                )
                if seed.contribution is not None:
                    worth = f"{seed.blueprint} adds {format_signed(seed.contribution, 1)} points"
                    yield label(worth, x + 8, self._curve_bottom - 10, class_="small grown bold")

    def _moving_dot(self, points: Sequence[tuple[float, float]]) -> str:
        frames = [
            (self._percent(epoch), f"transform:translate({x:.1f}px,{y:.1f}px)")
            for (epoch, _), (x, y) in zip(self._view.accuracy, points, strict=True)
        ]
        frames = [(0.0, frames[0][1]), *frames, (100.0, frames[-1][1])]
        self._animations.append(keyframes("dot", frames))
        x, y = points[-1]
        return element(
            "circle",
            class_="moves",
            r=5.5,
            fill="var(--curve)",
            stroke="var(--card)",
            stroke_width=2,
            style=f"transform:translate({x:.1f}px,{y:.1f}px);animation-name:dot",
        )

    def _playhead(self) -> Iterator[str]:
        width, top, bottom = _RIGHT - _LEFT, _LANES - 6, self._curve_bottom
        self._animations.append(
            keyframes(
                "playhead",
                [
                    (0.0, "transform:translateX(0)"),
                    (SWEEP, f"transform:translateX({width}px)"),
                    (100.0, f"transform:translateX({width}px)"),
                ],
            )
        )
        clip = element("rect", x=_LEFT, y=top, width=width + 1, height=bottom - top + 1)
        yield element("clipPath", clip, id="plot")
        style = f"transform:translateX({width}px);animation-name:playhead"
        curtain = element(
            "rect",
            x=_LEFT,
            y=top,
            width=width,
            height=bottom - top,
            fill="var(--card)",
            fill_opacity=0.78,
        )
        edge = path([(_LEFT, top), (_LEFT, bottom)])
        line = element("path", d=edge, stroke="var(--ink)", stroke_width=1.5)
        yield element(
            "g", element("g", curtain, line, class_="moves", style=style), clip_path="url(#plot)"
        )
        yield self._dot

    def _legend(self) -> Iterator[str]:
        seeds = [seed for slot in self._view.slots for seed in slot.seeds]
        used = {span.stage for seed in seeds for span in seed.stages}
        if any(seed.pruned is not None for seed in seeds):
            used.add(SeedStage.PRUNED)
        stages = [stage for stage in _TONES if stage in used]
        y = self._height - 22
        lengths = [len(_EXPLANATIONS[stage]) * 6.6 + 34 for stage in stages]
        x = 28 + max(0.0, (_RIGHT - 28 - sum(lengths)) / 2)
        for stage, length in zip(stages, lengths, strict=True):
            fill = f"var(--{_TONES[stage]})"
            yield element("rect", x=x, y=y - 10, width=12, height=12, rx=3, fill=fill)
            yield label(_EXPLANATIONS[stage], x + 17, y, class_="muted small")
            x += length

    def _x(self, epoch: float) -> float:
        return _LEFT + epoch / self._epochs * (_RIGHT - _LEFT)

    def _percent(self, epoch: float) -> float:
        """Returns when the animation reaches the end of an epoch."""
        return SWEEP * epoch / self._epochs


def _block(text: str, left: float, width: float) -> Iterator[str]:
    yield element("rect", x=left, y=_WIRE - 21, width=width, height=42, rx=8, fill="var(--block)")
    yield label(text, left + width / 2, _WIRE + 5, class_="onblock middle")


def _bend(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Returns the data of a path that leaves and arrives horizontally."""
    (x, y), (to_x, to_y) = start, end
    middle = (x + to_x) / 2
    return f"M{x:.1f},{y}C{middle:.1f},{y} {middle:.1f},{to_y} {to_x:.1f},{to_y}"


def _ink(alpha: float) -> str:
    """Returns the colour of a name on a seed of that opacity."""
    return "seedink" if alpha >= 0.8 else "ink"


def _range(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Returns the limits of an axis of percentages, and its ticks."""
    low, high = min(values, default=0.0), max(values, default=100.0)
    step = 10 if high - low <= 40 else 20
    first, last = int(low // step) * step, -int(-high // step) * step
    last = max(last, first + step)
    return first, last, [float(tick) for tick in range(first, last + 1, step)]


def _epoch_ticks(epochs: int) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, 25, 50, 100, 10**9) if epochs / step <= 9)
    ticks = list(range(0, epochs + 1, step))
    return ticks if epochs - ticks[-1] < step / 2 and ticks[-1] == epochs else [*ticks, epochs]


def _description(view: GrowthView) -> str:
    parts = [
        f"{seed.blueprint} in {slot.slot}: "
        + ", ".join(f"{span.stage.name.lower()} from epoch {span.start}" for span in seed.stages)
        + ("" if seed.pruned is None else f", pruned in epoch {seed.pruned}")
        for slot in view.slots
        for seed in slot.seeds
    ]
    return "; ".join(parts) or "no seed germinated"
