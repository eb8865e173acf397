"""Tables that fit the screen: whole columns are left out and named, nothing is cut."""

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
"""Stands between two columns, and before the values of a row that is printed line by line."""

FOLDED = 16
"""The least width of a column whose cells go on in the next line."""

_HEAD = Style(bold=True)
_NOTE = Style(dim=True)
# A long value may go on in the next line after a blank, or after these between two numbers.
_PIECES = re.compile(r"[^\s–/]*[\s–/]+|[^\s–/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        head: What stands above it.
        cells: One a row.
        rank: 0 for a column that is never left out; of the others, the one with the
            highest rank is left out first.
        left: Whether its cells are aligned to the left, as text is.
        fold: Whether long cells may go on in the next line, as a name may, where the table
            would not fit otherwise.
        name: What it is called where it is left out, if that is not its head.
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
    """One way to print a table, such as one with full or with short heads.

    Attributes:
        columns: From left to right.
        notes: Lines below the table that explain this form.
    """

    columns: Sequence[Column]
    notes: Sequence[str] = ()


class FittedTable:
    """A table that Rich prints so that no cell is cut, whatever the width of the screen.

    The first form that fits is taken. Where none does, the last one loses columns, those
    with the highest rank first, and a line below the table names them. Where not even the
    columns of rank 0 fit, every value of the first form gets a line of its own.

    Args:
        forms: From the widest to the narrowest; all have the same rows.
        breaks: Indices of the rows that have an empty line before them.
        rule: Whether a line is drawn below the heads.
    """

    def __init__(
        self, *forms: TableVariant, breaks: frozenset[int] = frozenset(), rule: bool = True
    ) -> None:
        self._forms = [_escaped(form) for form in forms]
        self._breaks = breaks
        self._rule = rule

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        form, left_out = self._fit(width)
        if not form.columns:
            yield from _line_by_line(self._forms[0].columns, width)
            return
        yield from self._rows(form.columns, width)
        notes = list(form.notes)
        if left_out:
            notes.append(
                f"left out at {width} columns: {', '.join(left_out)}; a wider screen or a pipe "
                "(| cat) has them"
            )
        for note in notes:
            for line in wrapped(note, width):
                yield from _line(line, _NOTE)

    def _fit(self, width: int) -> tuple[TableVariant, list[str]]:
        """Returns the form to print and the heads left out; a form without columns if none fits."""
        for form in self._forms:
            if _total([each.width() for each in form.columns]) <= width:
                return form, []
        for form in self._forms:
            if _total(_widths(form.columns, width)) <= width:
                return form, []
        form = self._forms[-1]
        kept = list(form.columns)
        for column in sorted(form.columns, key=lambda each: -each.rank):
            if column.rank == 0:
                return TableVariant(columns=()), []
            kept.remove(column)
            if _total(_widths(kept, width)) <= width:
                break
        left_out = [each.name or each.head for each in form.columns if each not in kept]
        return TableVariant(columns=kept, notes=form.notes), left_out

    def _rows(self, columns: Sequence[Column], width: int) -> Iterator[Segment]:
        widths = _widths(columns, width)
        yield from _lines([each.head for each in columns], columns, widths, [_HEAD] * len(columns))
        if self._rule:
            yield from _line("─" * _total(widths))
        for row in range(len(columns[0].cells)):
            if row in self._breaks:
                yield Segment.line()
            styles = [Style.parse(each.styles[row]) if each.styles else None for each in columns]
            yield from _lines([each.cells[row] for each in columns], columns, widths, styles)


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Yields the lines of a text that is broken between words and between values.

    Args:
        text: One line.
        width: Columns of a terminal, at least 20 for numbers of any size to stay whole;
            only a word that is wider than a line, such as a path, goes on in the next one.
        indent: Stands before each line.
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
    """One part of a line, such as ``accuracy 46.7 %``.

    Attributes:
        name: What it is called where it is left out.
        rank: As that of a column.
    """

    text: str
    name: str = ""
    rank: int = 0


def fit_parts(width: int, *forms: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """Returns the parts of a line that fit, and the names of those left out.

    The first form that fits is taken; the last one loses parts, as a table does columns.
    Parts of rank 0 are never left out: they may be wider than the screen.
    """
    for form in forms:
        if _length(form) <= width:
            return list(form), []
    kept = list(forms[-1])
    for part in sorted(forms[-1], key=lambda each: -each.rank):
        if part.rank == 0 or _length(kept) <= width:
            break
        kept.remove(part)
    return kept, [part.name for part in forms[-1] if part not in kept]


def join(parts: Sequence[Part]) -> str:
    """Returns a line of parts."""
    return GAP.join(part.text for part in parts)


def _length(parts: Sequence[Part]) -> int:
    return cell_len(join(parts))


def _escaped(form: TableVariant) -> TableVariant:
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
        for each in form.columns
    ]
    return TableVariant(columns=columns, notes=[printable(note) for note in form.notes])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Returns the widths of columns, where those that may be folded fill the space left."""
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
