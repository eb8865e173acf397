"""Prints what a telemetry profile measured last on each host."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn.formatting import MISSING, format_fixed, format_index, format_significant, pluralize
from esper_karn.terminal.layout import Column, FittedTable, TableVariant
from esper_karn.views.profile import NamedValue, ProfileRow, Profiles

MOST_HOSTS = 8
"""Hosts that are printed, the first ones."""


class ProfilesTable:
    """The last profile of each host for a Rich console; prints nothing if there is none."""

    def __init__(self, profiles: Profiles) -> None:
        self._rows = profiles.rows[:MOST_HOSTS]
        self._others = len(profiles.rows) - len(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._rows:
            return
        names = ", ".join(sorted({each.profile for each in self._rows}))
        notes = [
            f"last profile of each host ({names}); gradients before clipping, sharpness in nats"
        ]
        if self._others:
            notes.append(f"+{pluralize(self._others, 'host')}")
        yield Text()
        yield FittedTable(TableVariant(columns=_columns(self._rows), notes=notes))


def _columns(rows: Sequence[ProfileRow]) -> list[Column]:
    columns = [
        _column("host", [format_index(each.environment) for each in rows]),
        _column("round", [_index(each.round) for each in rows]),
        _column("epoch", [_index(each.epoch) for each in rows]),
        _named("smallest gradient", [each.smallest_gradient for each in rows], 4),
        _named("largest gradient", [each.largest_gradient for each in rows], 3),
        _named("most zeros", [each.most_zeros for each in rows], 6),
        _named("most exploding", [each.most_exploding for each in rows], 5),
        _named("largest weights", [each.largest_weights for each in rows], 7),
        _column("worst class %", [_class(each.worst_class) for each in rows], 2),
        _column("sharpness", [format_significant(each.sharpness) for each in rows], 1),
        _column("ms", [format_fixed(1000 * each.seconds, 1) for each in rows], 8),
    ]
    # What the profile does not measure has no column.
    return [each for each in columns if set(each.cells) != {MISSING}]


def _column(head: str, cells: Sequence[str], rank: int = 0) -> Column:
    return Column(head=head, cells=cells, rank=rank)


def _named(head: str, values: Sequence[NamedValue | None], rank: int) -> Column:
    return Column(head=head, cells=[_of_layer(each) for each in values], rank=rank, left=True)


def _of_layer(value: NamedValue | None) -> str:
    if value is None:
        return MISSING
    # Where no layer has any, none of them is meant.
    return f"{format_significant(value.value)} {value.name}" if value.value else "0"


def _class(value: NamedValue | None) -> str:
    return MISSING if value is None else f"{format_fixed(value.value, 1)} of {value.name}"


def _index(value: int | None) -> str:
    return MISSING if value is None else format_index(value)
