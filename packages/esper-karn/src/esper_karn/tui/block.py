"""Lines of text for a panel, drawn for a width; no number is ever cut."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from esper_karn.terminal.layout import GAP, FittedTable, TableVariant, wrapped
from esper_leyline import printable

Line = Sequence[Segment]
"""One line: texts with their styles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines of a panel.

    Attributes:
        lines: From the top.
        keys: What each line belongs to, for example a host; ``None`` for lines that cannot be
            chosen. Empty if none can.
        head: Lines that stay at the top when the others are scrolled.
    """

    lines: Sequence[Line]
    keys: Sequence[Hashable | None] = ()
    head: int = 0

    def key(self, index: int) -> Hashable | None:
        """Returns what a line belongs to."""
        return self.keys[index] if 0 <= index < len(self.keys) else None


def span(text: str, style: str = "") -> Segment:
    """Returns a piece of a line; characters that are not visible are escaped."""
    return Segment(printable(text), Style.parse(style) if style else None)


def paragraph(text: str, width: int, style: str = "", indent: str = "") -> list[Line]:
    """Returns a text in lines that fit a width, broken between words.

    Args:
        text: Any text.
        width: In columns of a terminal.
        style: A Rich style.
        indent: Before each line but the first.
    """
    first, *rest = wrapped(printable(text), max(8, width))
    if not rest:
        return [[span(first, style)]]
    left = printable(text)[len(first) :].lstrip()
    others = wrapped(left, max(8, width), indent)
    return [[span(each, style)] for each in (first, *others)]


def flow(parts: Iterable[str], width: int, style: str = "") -> list[Line]:
    """Returns parts of a text, such as a name with its number, none of them broken over lines."""
    lines: list[str] = []
    for part in map(printable, parts):
        joined = f"{lines[-1]}{GAP}{part}" if lines else part
        if lines and cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    return [line for each in lines for line in paragraph(each, width, style, GAP)]


def message(text: str | None, width: int, style: str = "") -> Block:
    """Returns a block that only says something, for example why a panel is empty."""
    return Block(lines=paragraph(text or "", width, style))


def table(*variants: TableVariant, width: int, keys: Sequence[Hashable] = ()) -> Block:
    """Returns a table whose headings stay when its rows are scrolled.

    A column without any text is left out.

    Args:
        variants: From the widest to the narrowest, all with the same rows.
        width: In columns of a terminal.
        keys: What each row belongs to; empty if none can be chosen.
    """
    fitted = FittedTable(*map(_with_text, variants), rule=False, brief=True)
    lines = fitted.lines(width)
    rows = len(variants[0].columns[0].cells)
    if not fitted.in_columns(width):
        return Block(lines=lines)
    named = [None, *keys] if keys else []
    return Block(lines=lines, keys=[*named, *[None] * (len(lines) - rows - 1)], head=1)


def _with_text(variant: TableVariant) -> TableVariant:
    columns = [each for each in variant.columns if any(each.cells)]
    return replace(variant, columns=columns or variant.columns)


def stack(blocks: Iterable[Block]) -> Block:
    """Returns blocks below each other; headings do not stay."""
    lines: list[Line] = []
    keys: list[Hashable | None] = []
    for block in blocks:
        lines.extend(block.lines)
        keys.extend(block.key(index) for index in range(len(block.lines)))
    return Block(lines=lines, keys=keys)
