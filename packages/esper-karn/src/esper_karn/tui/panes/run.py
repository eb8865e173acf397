"""Screen 1: the hosts of a run and its best episodes."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult

from esper_karn.tui.drawings.hosts import hosts_block, leaderboard_block
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Pane
from esper_karn.tui.shown import Shown


class RunPane(Pane):
    """The grid of hosts, and the best episodes below it."""

    title = "Run"

    def compose(self) -> ComposeResult:
        """Arranges the panels."""
        yield Panel("hosts", id="hosts")
        yield Panel("best episodes", id="leaderboard")

    def views(self) -> tuple[str, ...]:
        """Returns the views that it shows."""
        return ("hosts",)

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns each panel, what it depends on, and what draws it."""
        hosts, best = shown.hosts, shown.leaderboard
        yield (
            "hosts",
            frozenset({"hosts"}),
            lambda palette, width: hosts_block(hosts, palette, width),
        )
        yield (
            "leaderboard",
            frozenset({"leaderboard"}),
            lambda palette, width: leaderboard_block(best, palette, width),
        )
