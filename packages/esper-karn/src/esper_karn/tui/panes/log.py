"""Screen 4: the log with a filter."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult

from esper_karn.tui.drawings.log import log_block
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Pane
from esper_karn.tui.shown import FILTERED_LOG, Shown
from esper_karn.tui.source import LogPage, LogRequest

FIRST_PAGE, GROWTH = 1_000, 8
"""Lines that are shown first above those that a state keeps, and by how much that grows then."""


class LogPane(Pane):
    """The lines of the log that have a text.

    At its end it shows the lines that the state of the run keeps. Scrolling to the first of them
    asks for older ones, up to all that the log has; going back to the end drops them.

    Attributes:
        text: The text; empty for all lines.
    """

    title = "Log"

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._lines: int | None = None

    def compose(self) -> ComposeResult:
        """Arranges the panel."""
        yield Panel("log", id="lines", tail=True)

    def set_text(self, text: str) -> None:
        """Shows only lines with a text."""
        self.text = text
        self._lines = self._fewest
        self.query_one(Panel).set_title(f"log with '{text}'" if text else "log")

    def request(self) -> LogRequest:
        """Returns which lines to ask for."""
        return LogRequest(text=self.text, lines=self._lines)

    def scrolled(self, shown: LogPage | None) -> bool:
        """Takes a new position of its panel; returns whether other lines are needed."""
        panel, before = self.query_one(Panel), self._lines
        if panel.is_at_end:
            self._lines = self._fewest
        elif panel.is_at_top and shown is not None:
            if self._lines is None:
                self._lines = FIRST_PAGE
            elif shown.older:
                self._lines *= GROWTH
        return self._lines != before

    @property
    def _fewest(self) -> int | None:
        """What to ask for at the end; a filter looks at all lines, not only at the latest."""
        return FIRST_PAGE if self.text else None

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns the panel, what it depends on, and what draws it."""
        found = shown.log
        yield (
            "lines",
            frozenset({FILTERED_LOG}),
            lambda palette, width: log_block(found, palette, width),
        )
