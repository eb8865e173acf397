"""Lines at the edge of the screen that cannot be chosen."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip
from textual.widget import Widget

from esper_karn.tui.block import Line


class Bar(Widget):
    """Some lines; it is as high as they are many, and hidden without one."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self.lines: tuple[Line, ...] = ()
        self.display = False

    def show(self, lines: Sequence[Line]) -> None:
        """Shows other lines."""
        lines = tuple(lines)
        if lines == self.lines:
            return
        if len(lines) != len(self.lines):
            self.styles.height = len(lines)
            self.display = bool(lines)
        self.lines = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draws one line."""
        width, base = self.size.width, self.rich_style
        if y >= len(self.lines):
            return Strip.blank(width, base)
        return Strip(self.lines[y]).adjust_cell_length(width).apply_style(base)
