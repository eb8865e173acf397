"""The line of a round: what it returned, its seeds and its update."""

from __future__ import annotations

from esper_karn.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_index,
    format_signed,
)
from esper_karn.state.rounds import RoundStats
from esper_karn.terminal.layout import Part
from esper_karn.views.rounds import RoundView

COMPACT_WIDTH = 120
"""Below this many columns, the lines of rounds are compact."""


def round_variants(view: RoundView, width: int) -> list[list[Part]]:
    """Returns the parts of the line of a round, the widest variant first."""
    compact = _compact_parts(view)
    return [compact] if width < COMPACT_WIDTH else [_wide_parts(view), compact]


def _wide_parts(view: RoundView) -> list[Part]:
    stats = view.stats
    germinated, fossilized, pruned = _seed_counts(stats)
    return [
        Part(text=_round_of_total(view)),
        Part(text=f"return {format_signed(stats.mean_return):>6}"),
        Part(text=f"accuracy {format_fixed(stats.mean_accuracy, 1):>4} %"),
        Part(text=f"germinated {germinated:>2} fossilized {fossilized:>2} pruned {pruned:>2}"),
        *_update_parts(view, "entropy"),
        Part(text=f"ETA {format_duration(view.eta)}"),
    ]


def _compact_parts(view: RoundView) -> list[Part]:
    stats = view.stats
    return [
        Part(text=_round_of_total(view)),
        Part(text=f"ret {format_signed(stats.mean_return):>6}"),
        Part(text=f"acc {format_fixed(stats.mean_accuracy, 1):>4} %"),
        Part(text=f"seeds {'/'.join(_seed_counts(stats)):<8}", name="seeds", rank=1),
        *_update_parts(view, "H"),
        Part(text=f"ETA {format_duration(view.eta)}", name="ETA", rank=2),
    ]


def _seed_counts(stats: RoundStats) -> tuple[str, str, str]:
    return (
        format_count(stats.germinated),
        format_count(stats.fossilized),
        format_count(stats.pruned),
    )


def _round_of_total(view: RoundView) -> str:
    number = format_index(view.stats.last)
    if not view.rounds_total:
        return f"round {number}"
    total = format_index(view.rounds_total)
    return f"round {number:>{len(total)}}/{total}"


def _update_parts(view: RoundView, entropy: str) -> list[Part]:
    update = view.update
    if update is None or (update.kl is None and update.entropy is None):
        return []
    return [
        Part(text=f"KL {format_fixed(update.kl, 3)}", name="KL", rank=3),
        Part(text=f"{entropy} {format_fixed(update.entropy, 2)}", name="entropy", rank=4),
    ]


def round_remarks(view: RoundView) -> list[str]:
    """Returns what follows the line: rollbacks by their causes, and why an update was skipped."""
    stats, remarks = view.stats, []
    if stats.rollbacks:
        found = stats.rollback_causes.items()
        causes = ", ".join(f"{format_count(number)} {name}" for name, number in found)
        rolled_back = f"{format_count(stats.rollbacks)} rolled back"
        remarks.append(f"{rolled_back}: {causes}" if causes else rolled_back)
    if view.update is not None and view.update.skipped is not None:
        remarks.append(f"update skipped: {view.update.skipped}")
    return remarks
