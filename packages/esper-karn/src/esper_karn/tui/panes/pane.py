"""One of the five screens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.containers import Container
from textual.widget import Widget

from esper_karn.tui.palette import Palette
from esper_karn.tui.panel import Draw, Panel
from esper_karn.tui.shown import Shown


class Columns(Container):
    """Columns beside each other; below each other where the screen is narrow."""


class Column(Container):
    """Panels below each other."""


class Pane(Widget):
    """Panels that show one part of a run.

    Attributes:
        title: Its name in the list of screens.
        log_scale: Whether histories have a logarithmic scale.
    """

    title: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(id=self.title.lower())
        self.log_scale = False

    def views(self) -> tuple[str, ...]:
        """Returns the views that it shows, besides that of the lines at the edges."""
        return ()

    def parts(self, shown: Shown) -> Iterable[tuple[str, frozenset[str], Draw]]:
        """Returns each panel by its id, what it depends on, and what draws it."""
        raise NotImplementedError

    def show(self, shown: Shown, palette: Palette, *, whole: bool) -> None:
        """Draws the panels that changed.

        Args:
            shown: The run.
            palette: The colours.
            whole: Whether to draw all panels.
        """
        for name, needs, draw in self.parts(shown):
            if whole or needs & shown.changed:
                self.query_one(f"#{name}", Panel).show(draw, palette)

    def panels(self) -> list[Panel]:
        """Returns its panels, in the order in which keys go through them."""
        return list(self.query(Panel))
