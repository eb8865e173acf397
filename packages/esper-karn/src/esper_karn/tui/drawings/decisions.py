"""Cards of decisions: what was chosen, what else was open, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from esper_karn.formatting import format_fixed, format_index, format_signed
from esper_karn.tui.block import Block, Line, flow, message, paragraph, span
from esper_karn.tui.palette import Palette
from esper_karn.views.decisions import DecisionCard, DecisionsView, HeadChoice

LABEL = 14
"""Columns of the names on the left of a card."""


def decisions_block(found: DecisionsView | None, palette: Palette, width: int) -> Block:
    """Draws the latest decisions, the latest first."""
    if found is None or found.empty is not None:
        return message(found.empty if found else "no decision yet", width, palette.faint)
    lines: list[Line] = []
    keys: list[int | None] = []
    for card in found.cards:
        drawn = card_lines(card, palette, width)
        lines += [*drawn, []]
        keys += [*([card.sequence] * len(drawn)), None]
    return Block(lines=lines[:-1], keys=keys[:-1])


def card_lines(card: DecisionCard, palette: Palette, width: int) -> list[Line]:
    """Draws one decision."""
    lines = _headline(card, palette, width)
    for head in card.heads:
        lines += _labelled(head.head.replace("_", " "), _choice(head), palette, width)
        if head.masked:
            text = f"masked: {', '.join(head.masked)}"
            lines += _labelled("", text, palette, width, palette.faint)
    if card.q_values:
        values = [f"{op} {format_signed(value)}" for op, value in card.q_values.items()]
        lines += _labelled("Q", values, palette, width)
    if card.parts:
        values = [f"{name} {format_signed(value)}" for name, value in card.parts.items()]
        lines += _labelled("reward parts", values, palette, width)
    for label, why in (("reason", card.reason), ("rejected", card.rejection)):
        if why is not None:
            lines += _labelled(label, why, palette, width)
    if card.flags:
        lines += _labelled("suspicious", ", ".join(card.flags), palette, width, palette.warning)
    for note in card.notes:
        lines += _labelled("note", note, palette, width, palette.faint)
    return lines


def _headline(card: DecisionCard, palette: Palette, width: int) -> list[Line]:
    words = [card.op, card.slot or "", "forced" if card.forced else ""]
    words.append("" if card.succeeded else "not accepted")
    title = " ".join(filter(None, words))
    where = " ".join(
        f"{name} {format_index(value)}"
        for name, value in (
            ("host", card.environment),
            ("round", card.round),
            ("epoch", card.epoch),
        )
        if value is not None
    )
    numbers = f"value {format_signed(card.value)}  reward {format_signed(card.reward)}"
    style = palette.accent if card.succeeded else palette.warning
    if cell_len(title + where + numbers) + 4 > width:
        return [
            *paragraph(title, width, style),
            *paragraph(f"{where}  {numbers}", width, palette.faint),
        ]
    return [[span(title, style), span("  "), span(where, palette.faint), span("  "), span(numbers)]]


def _choice(head: HeadChoice) -> list[str]:
    """Returns the chosen one first, then what else was open, the likeliest first."""
    chosen = head.chosen
    if head.probability is not None:
        chosen = f"{chosen} {format_fixed(head.probability, 2)}"
    others = [
        f"{each.name} {format_fixed(each.probability, 2)}"
        for each in head.open
        if each.name != head.chosen
    ]
    return [f"▸ {chosen}", *others]


def _labelled(
    label: str, text: str | Sequence[str], palette: Palette, width: int, style: str = ""
) -> list[Line]:
    room = width - LABEL
    drawn = paragraph(text, room, style) if isinstance(text, str) else flow(text, room, style)
    names = [label, *([""] * (len(drawn) - 1))]
    return [
        [span(name.ljust(LABEL), palette.faint), *line]
        for name, line in zip(names, drawn, strict=True)
    ]
