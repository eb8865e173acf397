"""Tables that fit the width: whole columns are left out and named, no cell is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from esper_leyline import printable

GAP = "  "
"""Between two columns, and the indent of values that are printed one per line."""

FOLDED = 16
"""Least width of a column whose cells are wrapped."""

_HEAD = Style(bold=True)
_NOTE = Style(dim=True)
# A long line may break after white space, and after a dash or a slash between two numbers.
_PIECES = re.compile(r"[^\s–/]*[\s–/]+|[^\s–/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        head: Its heading.
        cells: One per row.
        rank: 0 for a column that is never left out; of the others, the one with the
            highest rank is left out first, and of equal ones the rightmost.
        left: Whether its cells are aligned to the left, as for text.
        fold: Whether long cells may be wrapped if the table does not fit otherwise.
        name: Its name in the list of columns left out; empty for its heading.
        styles: Rich styles of the cells; empty for none.
    """

    head: str
    cells: Sequence[str]
    rank: int = 0
    left: bool = False
    fold: bool = False
    name: str = ""
    styles: Sequence[str] = ()

    def width(self) -> int:
        """Returns the width of its widest cell, in columns of a terminal."""
        return max(cell_len(cell) for cell in (self.head, *self.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVariant:
    """One way to print a table, for example with full or with short headings.

    Attributes:
        columns: From left to right.
        notes: Lines below the table that explain this form.
    """

    columns: Sequence[Column]
    notes: Sequence[str] = ()


class FittedTable:
    """A table for a Rich console that never cuts a cell, at any width.

    The first variant that fits is printed. If none fits, the last one loses columns, those
    with the highest rank first, and a line below the table names them. If not even the
    columns of rank 0 fit, every value of the first variant is printed on its own line.

    Args:
        variants: From the widest to the narrowest; all have the same rows.
        breaks: Indices of the rows that have an empty line before them.
        rule: Whether a line is drawn below the headings.
        brief: Whether the names of the columns left out are all that is said of them.
    """

    def __init__(
        self,
        *variants: TableVariant,
        breaks: frozenset[int] = frozenset(),
        rule: bool = True,
        brief: bool = False,
    ) -> None:
        self._variants = [_escaped(each) for each in variants]
        self._breaks = breaks
        self._rule = rule
        self._brief = brief
        self._fits: dict[int, tuple[TableVariant, list[str]]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.segments(options.max_width)

    def lines(self, width: int) -> list[list[Segment]]:
        """Returns the lines of the table at a width: headings, rows, and notes below them."""
        return list(Segment.split_lines(self.segments(width)))

    def in_columns(self, width: int) -> bool:
        """Whether each row is one line of columns at a width, and not a line for each value."""
        columns = self._fit(width)[0].columns
        return bool(columns) and not any(each.fold for each in columns)

    def segments(self, width: int) -> Iterator[Segment]:
        """Yields the table at a width, with a line break after each line."""
        variant, left_out = self._fit(width)
        if not variant.columns:
            yield from _line_by_line(self._variants[0].columns, width)
            return
        yield from self._rows(variant.columns, width)
        notes = list(variant.notes)
        if left_out:
            notes.append(self._left_out(left_out, width))
        for note in notes:
            for line in wrapped(note, width):
                yield from _line(line, _NOTE)

    def _left_out(self, names: Sequence[str], width: int) -> str:
        if self._brief:
            return f"no room: {', '.join(names)}"
        return (
            f"left out at {width} columns: {', '.join(names)}; a wider screen or a pipe "
            "(| cat) has them"
        )

    def _fit(self, width: int) -> tuple[TableVariant, list[str]]:
        """Returns the variant to print, without columns if none fits, and the names left out."""
        if width not in self._fits:
            self._fits[width] = self._find(width)
        return self._fits[width]

    def _find(self, width: int) -> tuple[TableVariant, list[str]]:
        for variant in self._variants:
            if _total([each.width() for each in variant.columns]) <= width:
                return variant, []
        for variant in self._variants:
            if _total(_widths(variant.columns, width)) <= width:
                return variant, []
        variant = self._variants[-1]
        kept = list(variant.columns)
        for column in sorted(variant.columns, key=lambda each: each.rank)[::-1]:
            if column.rank == 0:
                return TableVariant(columns=()), []
            kept.remove(column)
            if _total(_widths(kept, width)) <= width:
                break
        left_out = [each.name or each.head for each in variant.columns if each not in kept]
        return TableVariant(columns=kept, notes=variant.notes), left_out

    def _rows(self, columns: Sequence[Column], width: int) -> Iterator[Segment]:
        widths = _widths(columns, width)
        heads = [each.head for each in columns]
        if any(heads):
            yield from _lines(heads, columns, widths, [_HEAD] * len(columns))
        if self._rule:
            yield from _line("─" * _total(widths))
        for row in range(len(columns[0].cells)):
            if row in self._breaks:
                yield Segment.line()
            styles = [Style.parse(each.styles[row]) if each.styles else None for each in columns]
            yield from _lines([each.cells[row] for each in columns], columns, widths, styles)


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Yields the lines of a text, broken between words and between values.

    Args:
        text: One line.
        width: In columns of a terminal; from 20 on, numbers are never broken. A word that is
            wider than a line, for example a path, is broken.
        indent: Printed before each line.
    """
    room = width - len(indent)
    line = ""
    for piece in _PIECES.findall(text):
        if line and cell_len(line + piece.rstrip()) > room:
            yield indent + line.rstrip()
            line = ""
        line += piece
        while cell_len(line.rstrip()) > room:
            full, *_ = chop_cells(line, room)
            yield indent + full
            line = line[len(full) :]
    yield indent + line.rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a line, for example ``accuracy 46.7 %``.

    Attributes:
        name: Its name in the list of parts left out.
        rank: As for a column.
    """

    text: str
    name: str = ""
    rank: int = 0


def fit_parts(width: int, *variants: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """Returns the parts of a line that fit, and the names of those left out.

    The first variant that fits is returned; otherwise the last one loses parts, as a table
    loses columns. Parts of rank 0 are never left out, so the line may be too wide.
    """
    for variant in variants:
        if _length(variant) <= width:
            return list(variant), []
    kept = list(variants[-1])
    for part in sorted(variants[-1], key=lambda each: -each.rank):
        if part.rank == 0 or _length(kept) <= width:
            break
        kept.remove(part)
    return kept, [part.name for part in variants[-1] if part not in kept]


def join(parts: Sequence[Part]) -> str:
    """Returns a line of parts."""
    return GAP.join(part.text for part in parts)


def _length(parts: Sequence[Part]) -> int:
    return cell_len(join(parts))


def _escaped(variant: TableVariant) -> TableVariant:
    columns = [
        Column(
            head=printable(each.head),
            cells=[printable(cell) for cell in each.cells],
            rank=each.rank,
            left=each.left,
            fold=each.fold,
            name=each.name,
            styles=each.styles,
        )
        for each in variant.columns
    ]
    return TableVariant(columns=columns, notes=[printable(note) for note in variant.notes])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Returns the widths of columns; those that may be folded shrink to fit."""
    widths = [each.width() for each in columns]
    for place, column in enumerate(columns):
        excess = _total(widths) - width
        if column.fold and excess > 0:
            least = min(widths[place], max(FOLDED, cell_len(column.head)))
            widths[place] = max(least, widths[place] - excess)
    return widths


def _lines(
    cells: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    styles: Sequence[Style | None],
) -> Iterator[Segment]:
    """Yields a row, as several lines where a cell is folded."""
    folded = [_folded(*each) for each in zip(cells, columns, widths, strict=True)]
    for number in range(max(map(len, folded))):
        pieces = [each[number] if number < len(each) else "" for each in folded]
        texts = [*map(_padded, pieces, columns, widths)]
        texts[-1] = texts[-1].rstrip()
        for text, style in zip(texts[:-1], styles[:-1], strict=True):
            yield Segment(text + GAP, style)
        yield from _line(texts[-1], styles[-1])


def _padded(cell: str, column: Column, width: int) -> str:
    blank = " " * (width - cell_len(cell))
    return cell + blank if column.left else blank + cell


def _folded(cell: str, column: Column, width: int) -> list[str]:
    return chop_cells(cell, width) if column.fold and cell_len(cell) > width else [cell]


def _line_by_line(columns: Sequence[Column], width: int) -> Iterator[Segment]:
    """Yields each row as its first value, then a line for each other value."""
    first, *others = columns
    for row, cell in enumerate(first.cells):
        for line in _named(first.head, cell, width, ""):
            yield from _line(line, _HEAD)
        for column in others:
            style = Style.parse(column.styles[row]) if column.styles else None
            for line in _named(column.head, column.cells[row], width, GAP):
                yield from _line(line, style)


def _named(head: str, cell: str, width: int, indent: str) -> Iterator[str]:
    whole = f"{indent}{head} {cell}"
    if cell_len(whole) <= width:
        yield whole
        return
    yield from wrapped(head, width, indent)
    yield from wrapped(cell, width, indent)


def _line(text: str, style: Style | None = None) -> Iterator[Segment]:
    yield Segment(text, style)
    yield Segment.line()
