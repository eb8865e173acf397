"""Screen 5: one host."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.app import ComposeResult

from esper_karn.tui.block import Block, message
from esper_karn.tui.drawings.decisions import decisions_block
from esper_karn.tui.drawings.host import (
    counterfactuals_block,
    lifelines_block,
    profile_block,
    reward_block,
    slots_block,
)
from esper_karn.tui.palette import Palette
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Columns, Pane
from esper_karn.tui.shown import Shown
from esper_karn.views.frame import HOST, HOST_DECISIONS
from esper_karn.views.host import HostView


class HostPane(Pane):
    """Slots, lifelines, counterfactuals, reward, decisions and profile of one host.

    Attributes:
        environment: Its index.
    """

    title = "Host"

    def __init__(self) -> None:
        super().__init__()
        self.environment = 0

    def compose(self) -> ComposeResult:
        """Arranges the panels."""
        yield Panel("slots", id="slots")
        yield Panel("lifelines", id="lifelines")
        with Columns(id="effects"):
            yield Panel("counterfactuals", id="counterfactuals")
            yield Panel("reward of this episode", id="reward")
        with Columns(id="details"):
            yield Panel("decisions of this host", id="host-decisions")
            yield Panel("profile", id="profile")

    def views(self) -> tuple[str, ...]:
        """Returns the views that it shows."""
        return (f"{HOST}{self.environment}",)

    def set_environment(self, environment: int) -> None:
        """Shows another host."""
        self.environment = environment
        self.query_one("#slots", Panel).set_title(f"host {environment}")

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns each panel, what it depends on, and what draws it."""
        found = shown.host(self.environment)
        needs = frozenset(self.views())
        for name, draw in (
            ("slots", slots_block),
            ("lifelines", lifelines_block),
            ("counterfactuals", counterfactuals_block),
            ("reward", reward_block),
            ("profile", profile_block),
        ):
            yield name, needs, self._drawn(found, draw, shown)
        decisions = shown.host_decisions(self.environment)
        yield (
            "host-decisions",
            frozenset({f"{HOST_DECISIONS}{self.environment}"}),
            lambda palette, width: decisions_block(decisions, palette, width),
        )

    def _drawn(
        self, found: HostView | None, draw: Callable[[HostView, Palette, int], Block], shown: Shown
    ) -> Draw:
        if found is not None:
            return lambda palette, width: draw(found, palette, width)
        hosts = len(shown.hosts.hosts) if shown.hosts else 0
        text = f"there is no host {self.environment} yet"
        if hosts:
            text = f"there is no host {self.environment}; hosts: 0 to {hosts - 1}"
        return lambda palette, width: message(text, width, palette.faint)
