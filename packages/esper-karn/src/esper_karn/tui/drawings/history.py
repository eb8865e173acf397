"""Series as lines of blocks, on a linear or a logarithmic scale."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.terminal.glyphs import logarithms, sparkline
from esper_karn.tui.shown import Shown


@dataclass(frozen=True, slots=True)
class Histories:
    """Draws the series of a run.

    Attributes:
        shown: The run.
        log: Whether the scale is logarithmic.
    """

    shown: Shown
    log: bool = False

    def draw(self, name: str, width: int) -> str:
        """Returns the latest ``width`` buckets of a series; empty without one."""
        values = self.shown.history(name)
        return sparkline(logarithms(values) if self.log else values, width)
