"""The lines at the edges: the run, how far it is, how it stands, its machine, its health, keys."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment

from esper_karn.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_index,
    format_significant,
    pluralize,
)
from esper_karn.terminal.glyphs import LEVEL_MARKS
from esper_karn.terminal.layout import GAP, Part, fit_parts
from esper_karn.tui.block import Line, span
from esper_karn.tui.palette import Palette
from esper_karn.tui.shown import Shown
from esper_karn.views.condition import Condition
from esper_karn.views.summary import Header, Machine
from esper_leyline.health import Level

BAR = 20
"""Columns of the bar of progress."""

_MORE = len(f"{GAP}+99 more")

CONDITION_MARKS = {
    "waiting": "◌",
    "live": "●",
    "stale": "?",
    "crashed": "✖",
    "ended": "■",
    "unreadable": "✖",
}
"""A mark for how a run stands."""

Styled = tuple[Part, str]


def title_line(shown: Shown, palette: Palette, width: int) -> tuple[Line, list[str]]:
    """Draws the first line, and returns the names of the parts that it has no room for."""
    header = shown.header
    name = f"esper {header.command}" if header and header.command else "esper"
    parts: list[Styled] = [(Part(text=name), palette.strong)]
    if header is not None:
        about = " · ".join(filter(None, [header.task, header.device]))
        parts.append((Part(text=about, name="task", rank=3), palette.faint))
        parts += _progress(header, shown.condition, palette)
    parts.append(_standing(shown.condition, palette))
    line, left_out = fitted_line(parts, width)
    # The bar says nothing that the number of the round does not say.
    return line, [each for each in left_out if each != "bar"]


def tabs_line(
    titles: Sequence[str], current: str, shown: Shown, palette: Palette, width: int
) -> tuple[Line, list[str]]:
    """Draws the names of the screens, and what the machine does on the right."""
    line: list[Segment] = []
    for title in titles:
        style = f"reverse {palette.strong}" if title == current else palette.faint
        line += [span(f" {title} ", style), span(" ")]
    used = sum(cell_len(each.text) for each in line)
    right, left_out = machine_line(shown, palette, width - used)
    return [*line, *right], left_out


def footer_line(keys: str, left_out: Sequence[str], palette: Palette, width: int) -> Line:
    """Draws keys, and on the right what had no room above."""
    note = f"no room: {', '.join(left_out)}" if left_out else ""
    if cell_len(keys + note) + 2 > width:
        note = f"no room for {len(left_out)} more"
    gap = max(2, width - cell_len(keys + note))
    return [span(keys, palette.faint), span(" " * gap), span(note, palette.faint)]


def machine_line(shown: Shown, palette: Palette, width: int) -> tuple[Line, list[str]]:
    """Draws what the machine does, aligned to the right."""
    machine = shown.machine
    if machine is None:
        return [], []
    line, left_out = fitted_line(_vitals(machine, palette), width)
    room = width - sum(cell_len(each.text) for each in line)
    return [span(" " * max(0, room)), *line], left_out


def health_line(shown: Shown, palette: Palette, width: int) -> Line:
    """Draws the strip of anomalies: how many, the checks that are not well, the latest one."""
    log, health = shown.notices, shown.health
    verdicts = health.verdicts if health else ()
    worse = [each for each in verdicts if each.level in {Level.BAD, Level.WARNING}]
    parts: list[Styled] = []
    if log is not None and log.anomalies:
        text = f"▲ {pluralize(log.anomalies, 'anomaly', 'anomalies')}"
        parts.append((Part(text=text), palette.warning))
    for each in worse:
        where = f" {each.where}" if each.where else ""
        name = each.name.replace("_", " ")
        text = f"{LEVEL_MARKS[each.level]} {name}{where} {format_significant(each.value)}"
        parts.append((Part(text=text, name=name, rank=2), palette.level(each.level)))
    if log is not None and log.latest_anomaly is not None:
        latest = log.latest_anomaly
        where = "" if latest.environment is None else f"host {latest.environment}: "
        part = Part(text=f"latest: {where}{latest.text}", name="the latest anomaly", rank=3)
        parts.append((part, palette.faint))
    if not parts and verdicts:
        well = sum(each.level is Level.OK for each in verdicts)
        text = f"✔ no anomaly, {well} of {pluralize(len(verdicts), 'check')} well"
        parts.append((Part(text=text), palette.good))
    if not parts:
        parts.append((Part(text="nothing was checked yet"), palette.faint))
    line, left_out = fitted_line(parts, width)
    if not left_out:
        return line
    # They are on the screen of the policy and in the log.
    line, left_out = fitted_line(parts, width - _MORE)
    return [*line, span(f"{GAP}+{len(left_out)} more", palette.faint)]


def fitted_line(parts: Sequence[Styled], width: int) -> tuple[Line, list[str]]:
    """Draws the parts that fit, and returns the names of the others."""
    kept, left_out = fit_parts(width, [part for part, _ in parts])
    styles = {id(part): style for part, style in parts}
    line = []
    for part in kept:
        line += [span(part.text, styles[id(part)]), span(GAP)]
    return line[:-1], left_out


def _progress(header: Header, condition: Condition | None, palette: Palette) -> list[Styled]:
    total = f"/{format_index(header.rounds_total)}" if header.rounds_total else ""
    share = min(1.0, max(0.0, header.share or 0.0))
    done = round(BAR * share)
    parts = [
        (Part(text=f"round {format_index(header.round)}{total}"), palette.strong),
        (Part(text="━" * done + "─" * (BAR - done), name="bar", rank=6), palette.accent),
    ]
    # What remains is only known of a run that goes on.
    goes_on = condition is None or condition.condition in {"waiting", "live"}
    if header.eta is not None and goes_on:
        parts.append((Part(text=f"ETA {format_duration(header.eta)}", name="ETA", rank=1), ""))
    if header.mean_accuracy is not None:
        text = f"accuracy {format_fixed(header.mean_accuracy, 1)} %"
        parts.append((Part(text=text, name="accuracy", rank=4), ""))
    if header.elapsed is not None:
        text = f"after {format_duration(header.elapsed)}"
        parts.append((Part(text=text, name="time", rank=5), palette.faint))
    return parts


def _standing(condition: Condition | None, palette: Palette) -> Styled:
    if condition is None:
        return Part(text="◌ no run yet"), palette.faint
    name = condition.condition
    style = {
        "live": palette.good,
        "waiting": palette.accent,
        "stale": palette.warning,
        "crashed": palette.bad,
        "unreadable": palette.bad,
    }.get(name, palette.faint)
    word = condition.text.partition(":")[0] if name == "ended" else name
    return Part(text=f"{CONDITION_MARKS[name]} {word}"), style


def _vitals(machine: Machine, palette: Palette) -> list[Styled]:
    parts = []
    if machine.empty is None:
        texts = [
            (f"CPU {format_fixed(machine.cpu_percent, 0)} %", "CPU", 1),
            (f"memory {format_count(machine.rss_mb)} MB", "memory", 2),
        ]
        texts += [
            (f"GPU {gpu.index} {format_fixed(gpu.percent, 0)} %", f"GPU {gpu.index}", 3)
            for gpu in machine.gpus
        ]
        parts = [
            (Part(text=text, name=name, rank=rank), palette.faint) for text, name, rank in texts
        ]
    if machine.speed_empty is None:
        text = f"{format_significant(machine.host_epochs_per_second)} host epochs/s"
        parts.append((Part(text=text, name="speed", rank=1), palette.faint))
    return parts
