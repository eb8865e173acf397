"""A reward by component, as a table with bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from esper_karn.formatting import format_signed
from esper_karn.terminal.glyphs import bar
from esper_karn.terminal.layout import Column, TableVariant


def reward_table(
    components: Sequence[tuple[str, float]],
    *,
    head: str,
    bar_width: int,
    style: Callable[[float], str],
) -> TableVariant:
    """Returns a row a component: its name, its reward, and a bar against the largest of them.

    Args:
        components: Name and reward of each.
        head: Heading of the rewards.
        bar_width: Columns of the longest bar.
        style: Returns the Rich style of a reward.
    """
    values = [value for _, value in components]
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    styles = [style(value) for value in values]
    return TableVariant(
        columns=[
            Column(head="component", cells=[name for name, _ in components], left=True),
            Column(head=head, cells=[format_signed(value) for value in values], styles=styles),
            Column(
                head="",
                name="bars",
                cells=[bar(abs(value) / largest, bar_width) for value in values],
                left=True,
                rank=1,
                styles=styles,
            ),
        ]
    )
