"""The screen of a run: lines at its edges, and one of five panes between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input

from esper_karn.tui.bar import Bar
from esper_karn.tui.block import paragraph
from esper_karn.tui.drawings.banner import banner
from esper_karn.tui.drawings.title import footer_line, health_line, tabs_line, title_line
from esper_karn.tui.palette import Palette
from esper_karn.tui.panel import Panel
from esper_karn.tui.panes.decisions import DecisionsPane
from esper_karn.tui.panes.host import HostPane
from esper_karn.tui.panes.log import LogPane
from esper_karn.tui.panes.pane import Pane
from esper_karn.tui.panes.policy import PolicyPane
from esper_karn.tui.panes.run import RunPane
from esper_karn.tui.shown import Shown
from esper_karn.tui.source import Request

SMALLEST = (80, 24)
"""Columns and rows of the smallest terminal in which everything has room."""

STATUS = "status"
"""The view of the lines at the edges."""

_MARGIN = 2
"""Columns left and right of a line."""

KEYS = "? keys  : commands  space pause"
"""The keys that the footer names."""

_BARS = ("title", "tabs", "health", "banner", "footer")
"""The lines at the edges; all but the last at the top."""


class RunScreen(Screen[None]):
    """Shows a run, and moves between its panes.

    Args:
        shown: The run.
        palette: The colours.
        hint: What the footer says of leaving.
        ask: Asks for the next frame at once.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "pane(1)", "Next screen", show=False),
        Binding("shift+tab", "pane(-1)", "Previous screen", show=False),
        Binding("l,right", "panel(1)", show=False),
        Binding("h,left", "panel(-1)", show=False),
        *(Binding(str(key), f"host({key})", show=False) for key in range(1, 10)),
        Binding("slash", "filter", show=False),
        Binding("escape", "back", show=False),
        Binding("space", "pause", show=False),
        Binding("left_square_bracket", "step(-1)", show=False),
        Binding("right_square_bracket", "step(1)", show=False),
        Binding("left_curly_bracket", "step(-100)", show=False),
        Binding("right_curly_bracket", "step(100)", show=False),
        Binding("y", "scale", show=False),
    ]

    def __init__(self, shown: Shown, palette: Palette, hint: str, ask: Callable[[], None]) -> None:
        super().__init__()
        self.shown = shown
        self.palette = palette
        self._hint = hint
        self._ask = ask
        self._panes: tuple[Pane, ...] = (
            RunPane(),
            PolicyPane(),
            DecisionsPane(),
            LogPane(),
            HostPane(),
        )
        self._before: list[Pane] = []
        self._is_tiny = False
        self._focused: dict[Pane, Panel] = {}
        self._pane: Pane = self._panes[0]

    def compose(self) -> ComposeResult:
        """Arranges the lines and the panes."""
        for name in _BARS[:-1]:
            yield Bar(id=name)
        with ContentSwitcher(initial=self._pane.id):
            yield from self._panes
        yield Input(placeholder="text of the lines to show; Enter keeps it, Esc ends", id="filter")
        yield Bar(id=_BARS[-1])

    def on_mount(self) -> None:
        """Draws what is known, and gives the first panel the focus."""
        self._open(self._pane)

    def on_resize(self, event: Resize) -> None:
        """Draws the lines for another size."""
        width, height = event.size
        was_tiny = self._is_tiny
        self._is_tiny = width < SMALLEST[0] or height < SMALLEST[1]
        self.query_one(ContentSwitcher).display = not self._is_tiny
        self._draw_bars()
        if was_tiny and not self._is_tiny:
            self._focus()

    def request(self) -> Request:
        """Returns what to ask for next."""
        log = self._pane.request() if isinstance(self._pane, LogPane) else None
        return Request(
            views=(STATUS, *self._pane.views()),
            at=self.shown.at,
            stream=self.shown.stream,
            known=dict(self.shown.known),
            log=log,
        )

    def draw(self, *, whole: bool = False) -> None:
        """Draws what changed, or everything."""
        self._draw_bars()
        self._pane.show(self.shown, self.palette, whole=whole)

    def set_palette(self, palette: Palette) -> None:
        """Draws everything in other colours."""
        self.palette = palette
        self.draw(whole=True)

    def set_hint(self, hint: str) -> None:
        """Says something else of leaving."""
        self._hint = hint
        self._draw_bars()

    @property
    def hosts(self) -> int:
        """Number of hosts that have started."""
        return len(self.shown.hosts.hosts) if self.shown.hosts else 0

    def action_pane(self, by: int) -> None:
        """Goes to another pane."""
        index = (self._panes.index(self._pane) + by) % len(self._panes)
        self._open(self._panes[index])

    def open_pane(self, title: str) -> None:
        """Opens a pane by its title."""
        self._open(next(each for each in self._panes if each.title == title))

    def action_panel(self, by: int) -> None:
        """Gives another panel the focus."""
        panels = self._pane.panels()
        at = panels.index(self.focused) if self.focused in panels else -by
        panels[(at + by) % len(panels)].focus()

    def action_host(self, environment: int) -> None:
        """Opens a host."""
        pane = next(each for each in self._panes if isinstance(each, HostPane))
        pane.set_environment(environment)
        if self._pane is not pane:
            self._before.append(self._pane)
        self._open(pane)

    def action_filter(self) -> None:
        """Opens the input of the log's filter."""
        if not isinstance(self._pane, LogPane):
            self._before.append(self._pane)
            self.open_pane(LogPane.title)
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.focus()

    def action_back(self) -> None:
        """Ends the filter, the pane or the pause that was opened last."""
        if isinstance(self._pane, LogPane) and (self._pane.text or self._is_filtering):
            self._set_filter("")
            self._close_filter()
        elif self._before:
            self._open(self._before.pop())
        elif self.shown.at is not None:
            self._go_to(None)

    def action_pause(self) -> None:
        """Shows the run as it is now, or goes on."""
        self._go_to(self.shown.latest if self.shown.at is None else None)

    def action_step(self, by: int) -> None:
        """Goes some events back or forward."""
        at = self.shown.latest if self.shown.at is None else self.shown.at
        self._go_to(min(self.shown.latest, max(0, at + by)))

    def action_scale(self) -> None:
        """Draws histories on the other scale."""
        for pane in self._panes:
            pane.log_scale = not pane.log_scale
        self.draw(whole=True)

    def on_panel_opened(self, event: Panel.Opened) -> None:
        """Opens what was chosen in a panel."""
        event.stop()
        if event.panel.id == "hosts" and isinstance(event.key, int):
            self.action_host(event.key)
        elif event.panel.id == "leaderboard" and isinstance(event.key, tuple):
            self.action_host(event.key[1])
        elif isinstance(event.key, int):
            self._go_to(event.key)

    def on_panel_scrolled(self, event: Panel.Scrolled) -> None:
        """Asks for older lines of the log where its first line is in sight."""
        event.stop()
        if isinstance(self._pane, LogPane) and self._pane.scrolled(self.shown.log):
            self._ask()

    def on_descendant_focus(self) -> None:
        """Remembers which panel of a pane had the focus."""
        focused = self.focused
        if isinstance(focused, Panel) and focused in self._pane.panels():
            self._focused[self._pane] = focused

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows the lines with the text that was typed so far."""
        self._set_filter(event.value)

    def on_input_submitted(self) -> None:
        """Keeps the filter."""
        self._close_filter()

    @property
    def _is_filtering(self) -> bool:
        return self.query_one("#filter", Input).has_class("open")

    def _set_filter(self, text: str) -> None:
        if isinstance(self._pane, LogPane) and text != self._pane.text:
            self._pane.set_text(text)
            self._ask()

    def _close_filter(self) -> None:
        line = self.query_one("#filter", Input)
        if isinstance(self._pane, LogPane):
            line.value = self._pane.text
        line.remove_class("open")
        self._focus()

    def _focus(self) -> None:
        """Gives the focus to the panel of the pane that had it last."""
        (self._focused.get(self._pane) or self._pane.panels()[0]).focus()

    def _go_to(self, sequence: int | None) -> None:
        self.shown.at = sequence
        self._draw_bars()
        self._ask()

    def _open(self, pane: Pane) -> None:
        self._pane = pane
        self.query_one("#filter", Input).remove_class("open")
        self.query_one(ContentSwitcher).current = pane.id
        self._focus()
        self.draw(whole=True)
        self._ask()

    def _draw_bars(self) -> None:
        width = self.size.width - _MARGIN
        if width <= 0 or not self.is_mounted:
            return
        if self._is_tiny:
            self._say_that_it_is_tiny(width)
            return
        titles = [each.title for each in self._panes]
        title, left_out = title_line(self.shown, self.palette, width)
        tabs, more = tabs_line(titles, self._pane.title, self.shown, self.palette, width)
        health = health_line(self.shown, self.palette, width)
        keys = f"{'log scale  ' if self._pane.log_scale else ''}{KEYS}  {self._hint}"
        footer = footer_line(keys, [*left_out, *more], self.palette, width)
        for name, line in zip(_BARS, (title, tabs, health, None, footer), strict=True):
            if line is not None:
                self._bar(name).show([line])
        self._bar("banner").show(banner(self.shown, self.palette, width).lines)

    def _say_that_it_is_tiny(self, width: int) -> None:
        for name in _BARS:
            self._bar(name).show([])
        columns, rows = self.size
        text = f"Sanctum needs {SMALLEST[0]}×{SMALLEST[1]}; this terminal has {columns}×{rows}"
        self._bar("banner").show(paragraph(text, width))

    def _bar(self, name: str) -> Bar:
        return self.query_one(f"#{name}", Bar)
