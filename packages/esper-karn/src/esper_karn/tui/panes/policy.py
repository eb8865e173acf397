"""Screen 2: the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from textual.app import ComposeResult

from esper_karn.tui.block import Block
from esper_karn.tui.drawings.history import Histories
from esper_karn.tui.drawings.policy import (
    heads_block,
    health_block,
    ops_block,
    rewards_block,
    update_block,
    value_block,
)
from esper_karn.tui.palette import Palette
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.panes.pane import Column, Columns, Pane
from esper_karn.tui.shown import Shown
from esper_karn.views.policy import Policy

_POLICY = frozenset({"policy"})
"""The view and the panel of this name: its series change with it."""


class PolicyPane(Pane):
    """Losses, heads, ops with their Q, value diagnostics, checks and rewards."""

    title = "Policy"

    def compose(self) -> ComposeResult:
        """Arranges the panels."""
        with Columns():
            with Column(id="left"):
                yield Panel("update", id="update")
                yield Panel("heads", id="heads")
                yield Panel("value", id="value")
            with Column(id="right"):
                yield Panel("ops and Q", id="ops")
                yield Panel("checks", id="checks")
                yield Panel("reward", id="rewards")

    def views(self) -> tuple[str, ...]:
        """Returns the views that it shows."""
        return ("policy",)

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns each panel, what it depends on, and what draws it."""
        policy, health, rewards = shown.policy, shown.health, shown.rewards
        histories = Histories(shown, self.log_scale)
        for name, block in (
            ("update", update_block),
            ("heads", heads_block),
            ("value", value_block),
            ("ops", ops_block),
        ):
            yield name, _POLICY, partial(_drawn, block, policy, histories)
        yield (
            "checks",
            frozenset({"health"}),
            lambda palette, width: health_block(health, palette, width),
        )
        yield (
            "rewards",
            frozenset({"rewards"}),
            lambda palette, width: rewards_block(rewards, palette, width),
        )


def _drawn(
    block: Callable[[Policy | None, Histories, Palette, int], Block],
    policy: Policy | None,
    histories: Histories,
    palette: Palette,
    width: int,
) -> Block:
    return block(policy, histories, palette, width)
