"""The lines below the title that say what is special about a run: that it waits, died or ended."""

from __future__ import annotations

from esper_karn.formatting import format_count, format_fixed, format_index, pluralize
from esper_karn.tui.block import Block, Line, paragraph
from esper_karn.tui.palette import Palette
from esper_karn.tui.shown import Shown

LAST = 3
"""Lines of the log that are shown of a run that crashed."""

NO_RUN = "no run yet: start one with uv run esper-train ppo, and it is shown here"


def banner(shown: Shown, palette: Palette, width: int) -> Block:
    """Draws what is special about the run; no line if nothing is."""
    lines: list[Line] = []
    if shown.problem is not None:
        lines += paragraph(f"✖ {shown.problem}", width, palette.bad, "  ")
    elif shown.run is None:
        lines += paragraph(NO_RUN, width, palette.accent)
    elif shown.share < 1.0:
        percent = format_fixed(100 * shown.share, 0)
        lines += paragraph(f"◌ reading the log: {percent} %", width, palette.accent)
    lines += _condition(shown, palette, width)
    lines += _moment(shown, palette, width)
    return Block(lines=lines)


def _condition(shown: Shown, palette: Palette, width: int) -> list[Line]:
    found = shown.condition
    if found is None:
        return []
    if found.condition == "waiting":
        return _waiting(shown, palette, width)
    if found.condition == "stale":
        return paragraph(f"? {found.text}", width, palette.warning, "  ")
    if found.condition == "ended":
        failed = found.text.startswith("failed")
        style = palette.bad if failed else palette.faint
        return paragraph(f"■ the run has ended: {found.text}", width, style, "  ")
    if found.condition != "crashed":
        return []
    lines = paragraph(f"✖ {found.text}", width, palette.bad, "  ")
    notices = shown.notices.lines[-LAST:] if shown.notices else ()
    for each in notices:
        where = "" if each.environment is None else f"host {each.environment}: "
        lines += paragraph(f"  {where}{each.text}", width, palette.faint, "    ")
    if found.resume is not None:
        lines += paragraph(f"  resume with: {found.resume}", width, palette.strong, "    ")
    return lines


def _waiting(shown: Shown, palette: Palette, width: int) -> list[Line]:
    phase = shown.phase
    if phase is None or phase.phase is None:
        return paragraph("◌ waiting: the run starts", width, palette.accent)
    lines = []
    for step in phase.steps:
        name = step.phase.replace("_", " ")
        detail = f" {step.detail}" if step.detail else ""
        if step.seconds is None:
            lines += paragraph(f"◌ {name}{detail}", width, palette.accent, "  ")
        else:
            text = f"✔ {name}{detail}  {format_fixed(step.seconds, 1)} s"
            lines += paragraph(text, width, palette.faint, "  ")
    return lines


def _moment(shown: Shown, palette: Palette, width: int) -> list[Line]:
    moment = shown.moment
    if shown.at is None or moment is None:
        return []
    text = (
        f"▮▮ paused at event {format_count(moment.sequence)}, round {format_index(moment.round)}; "
        f"{pluralize(moment.held_back, 'event')} held back; space goes on"
    )
    return paragraph(text, width, palette.warning, "  ")
