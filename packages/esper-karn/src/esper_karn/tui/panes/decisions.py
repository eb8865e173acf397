"""Screen 3: the latest decisions."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult

from esper_karn.tui.drawings.decisions import decisions_block
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Pane
from esper_karn.tui.shown import Shown


class DecisionsPane(Pane):
    """A card for each decision, the latest first."""

    title = "Decisions"

    def compose(self) -> ComposeResult:
        """Arranges the panel."""
        yield Panel("latest decisions", id="cards")

    def views(self) -> tuple[str, ...]:
        """Returns the views that it shows."""
        return ("decisions",)

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns the panel, what it depends on, and what draws it."""
        found = shown.decisions
        yield (
            "cards",
            frozenset({"decisions"}),
            lambda palette, width: decisions_block(found, palette, width),
        )
