"""Screen 4: the log with a filter."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult

from esper_karn.tui.drawings.log import log_block
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Pane
from esper_karn.tui.shown import FILTERED_LOG, Shown


class LogPane(Pane):
    """The lines of the log that have a text.

    Attributes:
        text: The text; empty for all lines.
    """

    title = "Log"

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def compose(self) -> ComposeResult:
        """Arranges the panel."""
        yield Panel("log", id="lines", tail=True)

    def set_text(self, text: str) -> None:
        """Shows only lines with a text."""
        self.text = text
        self.query_one(Panel).set_title(f"log with '{text}'" if text else "log")

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns the panel, what it depends on, and what draws it."""
        found = shown.log
        yield (
            "lines",
            frozenset({FILTERED_LOG}),
            lambda palette, width: log_block(found, palette, width),
        )
