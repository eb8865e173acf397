"""The one widget that shows lines: it draws only those in sight, and keeps what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from esper_karn.formatting import format_count
from esper_karn.tui.block import Block
from esper_karn.tui.palette import Palette

Draw = Callable[[Palette, int], Block]
"""Draws what a panel shows, in colours and for a width."""

_EMPTY = Block(lines=())


class Panel(ScrollView, can_focus=True):
    """A frame with a title around lines, of which one may be chosen.

    New lines never move what is in sight: the line at the top and the chosen one stay, unless the
    view is at the end of lines that grow there (``tail``).

    Args:
        title: In the frame.
        tail: Whether the lines grow at their end, as those of a log do.
    """

    class Opened(Message):
        """A line was opened.

        Attributes:
            panel: The panel.
            key: What the line belongs to.
        """

        def __init__(self, panel: Panel, key: Hashable) -> None:
            super().__init__()
            self.panel = panel
            self.key = key

        @property
        def control(self) -> Panel:
            """The panel."""
            return self.panel

    class Scrolled(Message):
        """A panel whose lines grow at their end was scrolled by its user.

        Attributes:
            panel: The panel.
        """

        def __init__(self, panel: Panel) -> None:
            super().__init__()
            self.panel = panel

        @property
        def control(self) -> Panel:
            """The panel."""
            return self.panel

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("home", "edge(False)", show=False),
        Binding("end", "edge(True)", show=False),
        Binding("enter", "open", show=False),
    ]

    def __init__(self, title: str, *, id: str, tail: bool = False) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = Content(title)
        self.block = _EMPTY
        self.chosen: Hashable | None = None
        self._draw: Draw | None = None
        self._palette: Palette | None = None
        self._width = 0
        self._drawn: tuple[Palette, Size] | None = None
        self._tail = tail
        self._starts: dict[Hashable, int] = {}
        self._cursor = Style.null()
        self._hidden = ""
        self._follows = tail
        self._is_redrawing = False

    def show(self, draw: Draw, palette: Palette) -> None:
        """Shows other lines."""
        self._draw, self._palette = draw, palette
        self._redraw()

    @property
    def is_at_top(self) -> bool:
        """Whether the first line that can be chosen is in sight."""
        return round(self.scroll_y) <= next(iter(self._starts.values()), 0)

    @property
    def is_at_end(self) -> bool:
        """Whether the view follows the end of lines that grow there."""
        return self._follows

    def set_title(self, title: str) -> None:
        """Shows another title."""
        self.border_title = Content(title)

    def render_line(self, y: int) -> Strip:
        """Draws one line that is in sight."""
        width = self.size.width
        index = y if y < self.block.head else y + round(self.scroll_y)
        base = self.rich_style
        if index >= len(self.block.lines):
            return Strip.blank(width, base)
        strip = Strip(self.block.lines[index]).adjust_cell_length(self._width)
        strip = strip.adjust_cell_length(width).apply_style(base)
        key = self.block.key(index)
        if key is None or key != self.chosen:
            return strip
        return Strip(Segment.apply_style(strip, post_style=self._cursor), width)

    def action_move(self, by: int) -> None:
        """Chooses another line, or scrolls where none can be chosen."""
        keys = list(self._starts)
        if not keys:
            self._scroll(round(self.scroll_y) + by)
            return
        index = keys.index(self.chosen) + by if self.chosen in self._starts else 0
        self._choose(keys[min(len(keys) - 1, max(0, index))])

    def action_page(self, by: int) -> None:
        """Goes a page up or down."""
        page = max(1, self._room() - 1)
        if not self._starts:
            self._scroll(round(self.scroll_y) + by * page)
            return
        line = self._starts.get(self.chosen, 0) + by * page
        near = min(self._starts, key=lambda key: abs(self._starts[key] - line))
        self._choose(near)

    def action_edge(self, end: bool) -> None:
        """Goes to the first or the last line."""
        keys = list(self._starts)
        if keys:
            self._choose(keys[-1 if end else 0])
        self._scroll(self.max_scroll_y if end else 0)

    def action_open(self) -> None:
        """Opens the chosen line."""
        if self.chosen is not None:
            self.post_message(self.Opened(self, self.chosen))

    def on_click(self, event: Click) -> None:
        """Chooses the line that is clicked; a second click opens it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        y = offset.y
        index = y if y < self.block.head else y + round(self.scroll_y)
        key = self.block.key(index)
        if key is None:
            return
        if key == self.chosen:
            self.action_open()
        else:
            self._choose(key)

    def on_resize(self) -> None:
        """Draws again for another width."""
        self._redraw()

    def on_show(self) -> None:
        """Draws what changed while it was hidden."""
        self._redraw()

    def on_focus(self) -> None:
        """Shows the chosen line as the one that keys move."""
        self._restyle()

    def on_blur(self) -> None:
        """Shows the chosen line as one that keys do not move."""
        self._restyle()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Counts the lines that are out of sight."""
        super().watch_scroll_y(old_value, new_value)
        self._count_hidden()
        if not self._is_redrawing:
            self._follows = self._tail and new_value >= self.max_scroll_y
            if self._tail:
                self.post_message(self.Scrolled(self))

    def _redraw(self) -> None:
        width = self.scrollable_content_region.width
        if self._draw is None or self._palette is None or width <= 0:
            return  # It is not on the screen yet.
        block, drawn = self._draw(self._palette, width), (self._palette, self.size)
        if block == self.block and drawn == self._drawn:
            return  # The terminal has it already.
        self._width, self._drawn = width, drawn
        at_end = self._follows
        top = round(self.scroll_y) + self.block.head
        anchor = self._key_from(top)
        offset = top - self._starts.get(anchor, top)
        was_last = bool(self._starts) and self.chosen == list(self._starts)[-1]
        self.block = block
        self._find_starts()
        if self._starts and (self.chosen not in self._starts or (at_end and was_last)):
            self.chosen = list(self._starts)[-1 if self._tail else 0]
        self._is_redrawing = True
        self.virtual_size = Size(self._width, len(self.block.lines))
        top = round(self.scroll_y)
        if at_end:
            top = self.max_scroll_y
        elif anchor in self._starts and (top > 0 or self._tail):
            top = self._starts[anchor] + offset - self.block.head
        self._scroll(top)
        self._is_redrawing = False
        self._restyle()
        self._count_hidden()

    def _key_from(self, index: int) -> Hashable | None:
        """Returns what the first line from an index on belongs to that belongs to anything."""
        found = (self.block.key(each) for each in range(index, len(self.block.keys)))
        return next((key for key in found if key is not None), None)

    def _find_starts(self) -> None:
        self._starts = {}
        for index, key in enumerate(self.block.keys):
            if key is not None:
                self._starts.setdefault(key, index)

    def _choose(self, key: Hashable) -> None:
        self.chosen = key
        first = self._starts[key]
        last = first
        while self.block.key(last + 1) == key:
            last += 1
        head, room = self.block.head, self._room()
        top = round(self.scroll_y) + head
        if first < top or last - first >= room:
            self._scroll(first - head)
        elif last >= top + room:
            self._scroll(last - room + 1 - head)
        self.refresh()

    def _scroll(self, top: int) -> None:
        """Shows a line at the top, also before the scroll bar is there."""
        self.scroll_to(y=min(self.max_scroll_y, max(0, top)), animate=False, force=True)

    def _room(self) -> int:
        """Returns the number of lines in sight that can be scrolled."""
        return max(1, self.size.height - self.block.head)

    def _restyle(self) -> None:
        if self._palette is not None:
            style = self._palette.cursor if self.has_focus else self._palette.away
            self._cursor = Style.parse(style)
        self.refresh()

    def _count_hidden(self) -> None:
        hidden = len(self.block.lines) - self.size.height - round(self.scroll_y)
        text = f"+{format_count(hidden)} below" if hidden > 0 and self.size.height else ""
        if text != self._hidden:
            self._hidden = text
            self.border_subtitle = Content(text) if text else None
