"""The grid of hosts and the best episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from esper_karn.formatting import (
    format_count,
    format_fixed,
    format_index,
    format_signed,
)
from esper_karn.terminal.glyphs import sparkline
from esper_karn.terminal.layout import GAP, Column, TableVariant
from esper_karn.tui.block import Block, message, table
from esper_karn.tui.palette import Palette
from esper_karn.views.hosts import HostCard, Hosts, LeaderboardRow, LeaderboardView, SlotCard
from esper_karn.views.stages import STAGE_LETTERS

SPARK = 16
"""Columns of a host's picture of its accuracy."""

_LONG, _SHORT = 40, 6
"""Letters of a blueprint's name where there is room, and where there is not."""

_NUMBERS = 38
"""Columns of the most important numbers; with less beside them, all slots are one column."""


def hosts_block(found: Hosts | None, palette: Palette, width: int) -> Block:
    """Draws one row a host: accuracy, gain, return, and its slots."""
    if found is None or not found.hosts:
        text = found.empty if found else "no host has started yet"
        return message(text, width, palette.faint)
    cards = found.hosts
    numbers = _numbers(cards, palette)
    slots = [list(_slots(cards, palette, names)) for names in (_LONG, _SHORT)]
    if _NUMBERS + sum(column.width() + len(GAP) for column in slots[-1]) > width:
        slots = [[_letters(cards)]]
    block = table(
        *(TableVariant(columns=[*numbers[:-1], *each, numbers[-1]]) for each in slots),
        width=width,
        keys=[card.environment for card in cards],
    )
    if found.empty is None:
        return block
    return Block(
        lines=[*block.lines, *message(found.empty, width, palette.faint).lines],
        keys=block.keys,
        head=block.head,
    )


def leaderboard_block(found: LeaderboardView | None, palette: Palette, width: int) -> Block:
    """Draws the best episodes, the best first."""
    if found is None or found.empty is not None:
        text = found.empty if found else "no episode has ended yet"
        return message(text, width, palette.faint)
    rows = found.rows
    return table(
        _leaderboard(rows, palette), width=width, keys=[(row.rank, row.environment) for row in rows]
    )


def slot_text(slot: SlotCard | None, names: int) -> str:
    """Returns a slot in few letters: the stage, the blueprint, and alpha while it blends."""
    if slot is None:
        return ""
    letter = STAGE_LETTERS.get(slot.stage, "?")
    parts = [letter]
    if slot.blueprint is not None:
        parts.append(slot.blueprint[:names])
    if slot.stage == "BLENDING":
        parts.append(f"α{format_fixed(slot.alpha, 2)}")
    if slot.contribution is not None and names == _LONG:
        parts.append(format_signed(slot.contribution, 1))
    return " ".join(parts)


def _numbers(cards: Sequence[HostCard], palette: Palette) -> list[Column]:
    """Returns what is the same in every variant."""
    return [
        Column(head="host", cells=[str(card.environment) for card in cards]),
        Column(
            head="accuracy",
            name="history",
            cells=[sparkline(card.spark, SPARK) for card in cards],
            left=True,
            rank=3,
            styles=[palette.accent] * len(cards),
        ),
        Column(head="now %", cells=[format_fixed(card.accuracy, 1) for card in cards]),
        Column(
            head="gain",
            cells=[format_signed(card.gain, 1) for card in cards],
            rank=2,
            styles=[palette.sign(card.gain) for card in cards],
        ),
        Column(
            head="best %", cells=[format_fixed(card.best_accuracy, 1) for card in cards], rank=6
        ),
        Column(head="epoch", cells=[format_index(card.epoch) for card in cards], rank=5),
        Column(head="return", cells=[format_signed(card.last_return, 1) for card in cards], rank=4),
        Column(head="parameters", cells=[format_count(card.parameters) for card in cards], rank=7),
        Column(
            head="ended",
            cells=[card.ended or "" for card in cards],
            left=True,
            rank=8,
            styles=[palette.faint] * len(cards),
        ),
    ]


def _slots(cards: Sequence[HostCard], palette: Palette, names: int) -> Iterator[Column]:
    """Yields a column for each slot."""
    for index in range(max((len(card.slots) for card in cards), default=0)):
        slots = [card.slots[index] if index < len(card.slots) else None for card in cards]
        yield Column(
            head=next((slot.slot for slot in slots if slot is not None), ""),
            cells=[slot_text(slot, names) for slot in slots],
            left=True,
            rank=1,
            styles=[palette.stages.get(slot.stage, "") if slot else "" for slot in slots],
        )


def _letters(cards: Sequence[HostCard]) -> Column:
    """Returns the stages of all slots as one letter each."""
    letters = ["".join(STAGE_LETTERS.get(slot.stage, "?") for slot in card.slots) for card in cards]
    return Column(head="slots", cells=letters, left=True, rank=1)


def _leaderboard(rows: Sequence[LeaderboardRow], palette: Palette) -> TableVariant:
    seeds = [f"{row.germinated}/{row.fossilized}/{row.pruned}" for row in rows]
    growth = ["" if row.growth is None else f"×{format_fixed(row.growth, 2)}" for row in rows]
    return TableVariant(
        columns=[
            Column(head="", name="rank", cells=[str(row.rank) for row in rows]),
            Column(head="final %", cells=[format_fixed(row.accuracy, 1) for row in rows]),
            Column(
                head="best %", cells=[format_fixed(row.best_accuracy, 1) for row in rows], rank=4
            ),
            Column(
                head="return",
                cells=[format_signed(row.episode_return, 2) for row in rows],
                rank=2,
                styles=[palette.sign(row.episode_return) for row in rows],
            ),
            Column(head="round", cells=[format_index(row.round) for row in rows], rank=1),
            Column(head="host", cells=[str(row.environment) for row in rows]),
            Column(head="seeds ger/fos/pru", cells=seeds, rank=5),
            Column(head="size", cells=growth, rank=3),
            Column(
                head="blueprints",
                cells=[" ".join(row.blueprints) or "none" for row in rows],
                left=True,
                rank=6,
            ),
            Column(
                head="ended",
                cells=[row.ended for row in rows],
                left=True,
                rank=7,
                styles=[palette.faint] * len(rows),
            ),
        ]
    )
