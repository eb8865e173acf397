"""The panels of the dashboard: each draws itself into the space that it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from esper_karn.console.dashboard.glyphs import (
    STAGE_LETTERS,
    STAGE_STYLES,
    bar,
    sparkline,
)
from esper_karn.console.layout import Column, FittedTable, TableVariant, wrapped
from esper_karn.formatting import (
    format_count,
    format_fixed,
    format_number,
    format_signed,
    format_significant,
    pluralize,
)
from esper_karn.state.run import RunState
from esper_karn.views.hosts import HostCard, SlotCard, hosts
from esper_karn.views.levels import level_needed
from esper_karn.views.log import LogLine, log_lines
from esper_karn.views.policy import OpView, policy, rewards
from esper_karn.views.rounds import rounds
from esper_karn.views.summary import Health, health, machine
from esper_leyline.health import Level

SPARK_WIDTH = 8
BAR_WIDTH = 16
_LONG_NAMES, _SHORT_NAMES = 40, 6
"""Letters of a blueprint's name where there is room, and where there is not."""

LEVEL_MARKS = {
    Level.OK: ("✔", "green"),
    Level.WARNING: ("▲", "yellow"),
    Level.BAD: ("✖", "red"),
    Level.UNKNOWN: ("○", "dim"),
}
"""A mark and a colour for each level: neither stands alone."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of which as many rows are drawn as fit; the others are counted.

    Attributes:
        table: Makes the table of the first rows.
        count: Number of all rows.
        name: What a row is, for example ``host``.
    """

    table: Callable[[int], RenderableType]
    count: int
    name: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or options.max_height
        shown = self.count
        lines = self._lines(console, options, shown)
        while len(lines) > height and shown > 1:
            shown -= max(1, len(lines) - height)
            shown = max(1, shown)
            lines = self._lines(console, options, shown)
        for line in lines:
            yield from line
            yield Segment.line()

    def _lines(self, console: Console, options: ConsoleOptions, shown: int) -> list[list[Segment]]:
        free = options.update(height=None)
        lines = console.render_lines(self.table(shown), free, pad=False)
        if shown < self.count:
            more = Text(f"+{pluralize(self.count - shown, self.name)}", "dim")
            lines += console.render_lines(more, free, pad=False)
        return lines


def hosts_panel(state: RunState) -> RenderableType:
    """Draws one row a host: accuracy over its epochs, now, since its start, and its slots."""
    cards = hosts(state).hosts
    if not cards:
        # A host is shown from its start on, before it has finished an epoch.
        needed = level_needed(state, ["epoch_completed"])
        return Text(needed or "no host has started yet", "dim")
    return Rows(lambda shown: _hosts_table(cards[:shown]), len(cards), "host")


def policy_panel(state: RunState) -> RenderableType:
    """Draws the latest update: losses, KL, clip fraction, explained variance, entropies."""
    found = policy(state)
    if found.empty is not None:
        return Text(found.empty, "dim")
    series = state.series
    lines = []
    for name, label in (
        ("entropy", "entropy"),
        ("kl", "KL"),
        ("clip_fraction", "clip fraction"),
        ("explained_variance", "expl. variance"),
        ("policy_loss", "policy loss"),
        ("value_loss", "value loss"),
        ("gradient_norm", "gradient norm"),
    ):
        history = series[name].buckets if name in series else ()
        picture = sparkline([bucket.mean for bucket in history], SPARK_WIDTH)
        lines.append((label, format_significant(getattr(found, name)), picture))
    notes = [f"update skipped: {found.skipped}"] if found.skipped else []
    columns = [
        Column(head="", cells=[line[0] for line in lines], left=True),
        Column(head="", cells=[line[1] for line in lines]),
        Column(head="", cells=[line[2] for line in lines], left=True, rank=1, name="history"),
    ]
    table = FittedTable(TableVariant(columns=columns, notes=notes), rule=False, brief=True)
    return Rows(lambda _: table, 1, "line")


def rewards_panel(state: RunState) -> RenderableType:
    """Draws the mean reward of the latest round by component."""
    found = rewards(state)
    if found.empty is not None:
        return Text(found.empty, "dim")
    items = list(found.components.items())
    reach = max((abs(value) for _, value in items if math.isfinite(value)), default=1.0) or 1.0
    return Rows(lambda shown: _bars(items[:shown], reach), len(items), "component")


def ops_panel(state: RunState) -> RenderableType:
    """Draws how often each op was chosen in the latest round, and its Q."""
    ops = policy(state).ops
    if not ops:
        return Text(rounds(state).empty or "", "dim")
    return Rows(lambda shown: _ops_table(ops[:shown]), len(ops), "op")


def health_panel(state: RunState) -> RenderableType:
    """Draws the machine, the checks that are not well, and the latest notices."""
    found = machine(state)
    parts = [
        f"CPU {format_fixed(found.cpu_percent, 0)} %",
        f"memory {format_count(found.rss_mb)} MB",
        f"{format_significant(found.host_epochs_per_second)} host epochs/s",
        *(f"GPU {gpu.index} {format_fixed(gpu.percent, 0)} %" for gpu in found.gpus),
    ]
    lines = [Text("  ".join(parts), "dim"), *_checks(health(state))]
    notices = [
        Text(_notice(line), "yellow" if line.group == "anomaly" else "")
        for line in reversed(log_lines(state).lines)
    ]
    return _Lines([*lines, *notices])


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines, wrapped, of which as many are drawn as fit."""

    lines: Sequence[Text]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        room = options.height or options.max_height
        for text in self.lines:
            pieces = list(wrapped(text.plain, options.max_width))
            if len(pieces) > room:
                return
            room -= len(pieces)
            for piece in pieces:
                yield Text(piece, text.style)


def _hosts_table(cards: Sequence[HostCard]) -> FittedTable:
    variants = (_hosts_variant(cards, names) for names in (_LONG_NAMES, _SHORT_NAMES))
    return FittedTable(*variants, rule=False, brief=True)


def _hosts_variant(cards: Sequence[HostCard], names: int) -> TableVariant:
    count = max((len(card.slots) for card in cards), default=0)
    columns = [
        Column(head="host", cells=[str(card.environment) for card in cards]),
        Column(
            head="epochs",
            cells=[sparkline(card.spark, SPARK_WIDTH) for card in cards],
            left=True,
            rank=4,
        ),
        Column(head="acc %", cells=[format_fixed(card.accuracy, 1) for card in cards]),
        Column(head="gain", cells=[format_signed(card.gain, 1) for card in cards], rank=2),
        Column(head="return", cells=[format_signed(card.last_return, 1) for card in cards], rank=5),
    ]
    for index in range(count):
        slots = [card.slots[index] if index < len(card.slots) else None for card in cards]
        name = next((slot.slot for slot in slots if slot is not None), "")
        columns.append(
            Column(
                head=name,
                cells=[_slot_text(slot, names) for slot in slots],
                left=True,
                rank=1,
                styles=[STAGE_STYLES.get(slot.stage, "") if slot else "" for slot in slots],
            )
        )
    return TableVariant(columns=columns)


def _ops_table(ops: Sequence[OpView]) -> FittedTable:
    columns = [
        Column(head="op", cells=[each.op.lower() for each in ops], left=True),
        Column(head="chosen", cells=[format_count(each.chosen) for each in ops]),
        Column(
            head="",
            name="bars",
            cells=[bar(each.share or 0.0, BAR_WIDTH) for each in ops],
            left=True,
            rank=3,
        ),
        Column(head="Q", cells=[format_number(each.q_mean, 2) for each in ops], rank=1),
        Column(head="±", cells=[format_number(each.q_deviation, 2) for each in ops], rank=2),
    ]
    return FittedTable(TableVariant(columns=columns), rule=False, brief=True)


def _slot_text(slot: SlotCard | None, names: int) -> str:
    if slot is None:
        return ""
    letter = STAGE_LETTERS.get(slot.stage, "?")
    return letter if slot.blueprint is None else f"{letter} {slot.blueprint[:names]}"


def _bars(items: Sequence[tuple[str, float]], reach: float) -> FittedTable:
    columns = [
        Column(head="component", cells=[name for name, _ in items], left=True),
        Column(head="mean", cells=[format_signed(value) for _, value in items]),
        Column(
            head="",
            name="bars",
            cells=[bar(abs(value) / reach, BAR_WIDTH) for _, value in items],
            left=True,
            rank=1,
            styles=["red" if value < 0 else "green" for _, value in items],
        ),
    ]
    return FittedTable(TableVariant(columns=columns), rule=False, brief=True)


def _checks(found: Health) -> Iterable[Text]:
    for verdict in found.verdicts:
        if verdict.level in {Level.WARNING, Level.BAD}:
            mark, style = LEVEL_MARKS[verdict.level]
            where = f" ({verdict.where})" if verdict.where else ""
            value = format_significant(verdict.value)
            yield Text(f"{mark} {verdict.name}{where} {value}: {verdict.advice}", style)


def _notice(line: LogLine) -> str:
    mark = "▲" if line.group == "anomaly" else "·"
    where = "" if line.environment is None else f"host {line.environment}: "
    return f"{mark} {where}{line.text}"
