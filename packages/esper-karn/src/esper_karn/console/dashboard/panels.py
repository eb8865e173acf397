"""The panels of the dashboard: each draws itself into the space that it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from esper_karn.formatting import (
    format_count,
    format_fixed,
    format_number,
    format_signed,
    format_significant,
    pluralize,
)
from esper_karn.state.run import RunState
from esper_karn.terminal.glyphs import (
    LEVEL_MARKS,
    STAGE_STYLES,
    bar,
    sparkline,
)
from esper_karn.terminal.layout import GAP, Column, FittedTable, TableVariant, wrapped
from esper_karn.terminal.rewards import reward_table
from esper_karn.views.hosts import HostCard, SlotCard, hosts
from esper_karn.views.levels import level_needed
from esper_karn.views.log import LogLine, log_lines
from esper_karn.views.policy import OpView, policy, rewards
from esper_karn.views.rounds import rounds
from esper_karn.views.stages import STAGE_LETTERS
from esper_karn.views.summary import Health, health, machine
from esper_leyline.health import Level

SPARK_WIDTH = 8
BAR_WIDTH = 16
_LONG_NAMES, _SHORT_NAMES = 40, 6
"""Letters of a blueprint's name where there is room, and where there is not."""

LEVEL_STYLES = {
    Level.OK: "green",
    Level.WARNING: "yellow",
    Level.BAD: "red",
    Level.UNKNOWN: "dim",
}
"""A colour for each level; its mark stands beside it."""


class Rows:
    """A table of which as many rows are drawn as fit; the others are counted.

    Args:
        table: Makes the table of the first rows.
        count: Number of all rows.
        name: What a row is, for example ``host``.
    """

    def __init__(self, table: Callable[[int], RenderableType], count: int, name: str) -> None:
        self._table = table
        self._count = count
        self._name = name
        # What was measured is drawn afterwards: the lines by width and number of rows.
        self._drawn: dict[tuple[int, int], list[list[Segment]]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or options.max_height
        shown = min(self._count, height)
        lines = self._lines(console, options, shown)
        while len(lines) > height and shown > 1:
            shown = max(1, shown - max(1, len(lines) - height))
            lines = self._lines(console, options, shown)
        for line in lines:
            yield from line
            yield Segment.line()

    def wanted(self, console: Console, options: ConsoleOptions) -> int:
        """Returns the lines of all rows; the largest height where they do not fit anyway."""
        if self._count >= options.max_height:
            return options.max_height
        return len(self._lines(console, options, self._count))

    def _lines(self, console: Console, options: ConsoleOptions, shown: int) -> list[list[Segment]]:
        key = (options.max_width, shown)
        if key not in self._drawn:
            self._drawn[key] = self._rendered(console, options, shown)
        return self._drawn[key]

    def _rendered(
        self, console: Console, options: ConsoleOptions, shown: int
    ) -> list[list[Segment]]:
        free = options.update(height=None)
        lines = console.render_lines(self._table(shown), free, pad=False)
        if shown < self._count:
            more = Text(f"+{pluralize(self._count - shown, self._name)}", "dim")
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
    return _Metrics(lines, notes)


def rewards_panel(state: RunState) -> RenderableType:
    """Draws the mean reward of the latest round by component, the largest if not all fit."""
    found = rewards(state)
    if found.empty is not None:
        return Text(found.empty, "dim")
    items = list(found.components.items())
    return Rows(lambda shown: _bars(_largest(items, shown)), len(items), "component")


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
        f"CPU {_percent(found.cpu_percent)}",
        f"memory {format_count(found.rss_mb)} MB",
        f"{format_significant(found.host_epochs_per_second)} host epochs/s",
        *(f"GPU {gpu.index} {_percent(gpu.percent)}" for gpu in found.gpus),
    ]
    notices = [
        Text(_notice(line), "yellow" if line.group == "anomaly" else "")
        for line in reversed(log_lines(state).lines)
    ]
    return _HealthLines(Text(GAP.join(parts), "dim"), [*_checks(health(state))], notices)


@dataclass(frozen=True, slots=True)
class _Metrics:
    """Metrics, one in a line, or two where there is no room for that.

    Attributes:
        lines: Name, value and history of each.
        notes: Lines below.
    """

    lines: Sequence[tuple[str, str, str]]
    notes: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.height or options.max_height
        columns = _metric_columns(self.lines)
        if len(self.lines) + len(self.notes) > room:
            half = -(-len(self.lines) // 2)
            blank = [("", "", "")] * (2 * half - len(self.lines))
            columns = [
                *_metric_columns(self.lines[:half]),
                *_metric_columns([*self.lines[half:], *blank]),
            ]
        variant = TableVariant(columns=columns, notes=self.notes)
        yield FittedTable(variant, rule=False, brief=True)


def _metric_columns(lines: Sequence[tuple[str, str, str]]) -> list[Column]:
    return [
        Column(head="", cells=[line[0] for line in lines], left=True),
        Column(head="", cells=[line[1] for line in lines]),
        Column(head="", cells=[line[2] for line in lines], left=True, rank=1, name="history"),
    ]


@dataclass(frozen=True, slots=True)
class _HealthLines:
    """The machine, the checks that are not well, and as many notices as fit.

    Attributes:
        machine: One line.
        checks: Each with its advice, and without it.
        notices: The latest first.
    """

    machine: Text
    checks: Sequence[tuple[Text, Text]]
    notices: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, room = options.max_width, options.height or options.max_height
        lines = _wrapped_lines(self.machine, width)
        lines += _check_lines(self.checks, width, room - len(lines))
        for notice in self.notices:
            pieces = _wrapped_lines(notice, width)
            if len(lines) + len(pieces) > room:
                break
            lines += pieces
        yield from lines


def _check_lines(checks: Sequence[tuple[Text, Text]], width: int, room: int) -> list[Text]:
    """Returns the lines of checks: with advice as far as there is room, or all in one line."""
    forms = [_wrapped_lines(brief, width) for _, brief in checks]
    if sum(map(len, forms)) > room:
        return [_in_one_line([brief for _, brief in checks], width)]
    for index, (full, _) in enumerate(checks):
        lines = _wrapped_lines(full, width)
        if sum(map(len, forms)) - len(forms[index]) + len(lines) <= room:
            forms[index] = lines
    return [line for form in forms for line in form]


def _in_one_line(checks: Sequence[Text], width: int) -> Text:
    """Returns as many checks as fit into a line, and the number of the others."""
    for count in range(len(checks), 0, -1):
        more = [Text(f"+{pluralize(len(checks) - count, 'check')}")] if count < len(checks) else []
        line = Text(GAP).join([*checks[:count], *more])
        if line.cell_len <= width:
            return line
    return Text(pluralize(len(checks), "check"))


def _wrapped_lines(text: Text, width: int) -> list[Text]:
    return [Text(piece, text.style) for piece in wrapped(text.plain, width)]


def _percent(value: float | None) -> str:
    text = format_fixed(value, 0)
    return text if value is None else f"{text} %"


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


def _largest(items: Sequence[tuple[str, float]], count: int) -> list[tuple[str, float]]:
    """Returns the components that matter most, in their usual order; NaN matters most."""
    names = sorted(items, key=lambda each: -math.inf if math.isnan(each[1]) else -abs(each[1]))
    return [each for each in items if each in names[:count]]


def _slot_text(slot: SlotCard | None, names: int) -> str:
    if slot is None:
        return ""
    letter = STAGE_LETTERS.get(slot.stage, "?")
    return letter if slot.blueprint is None else f"{letter} {slot.blueprint[:names]}"


def _bars(items: Sequence[tuple[str, float]]) -> FittedTable:
    variant = reward_table(
        items,
        head="mean",
        bar_width=BAR_WIDTH,
        style=lambda value: "red" if value < 0 else "green",
    )
    return FittedTable(variant, rule=False, brief=True)


def _checks(found: Health) -> Iterable[tuple[Text, Text]]:
    """Yields the checks that are not well, each with its advice and without it."""
    for verdict in found.verdicts:
        if verdict.level in {Level.WARNING, Level.BAD}:
            mark, style = LEVEL_MARKS[verdict.level], LEVEL_STYLES[verdict.level]
            where = f" ({verdict.where})" if verdict.where else ""
            brief = f"{mark} {verdict.name}{where} {format_significant(verdict.value)}"
            yield Text(f"{brief}: {verdict.advice}", style), Text(brief, style)


def _notice(line: LogLine) -> str:
    mark = "▲" if line.group == "anomaly" else "·"
    where = "" if line.environment is None else f"host {line.environment}: "
    return f"{mark} {where}{line.text}"
