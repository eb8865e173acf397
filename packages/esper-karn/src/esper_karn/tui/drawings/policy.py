"""The policy: its latest update, its heads, its ops with their Q, and the checks on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from esper_karn.formatting import (
    MISSING,
    format_count,
    format_fixed,
    format_index,
    format_number,
    format_signed,
    format_significant,
)
from esper_karn.terminal.glyphs import LEVEL_MARKS, bar
from esper_karn.terminal.layout import Column, TableVariant
from esper_karn.terminal.rewards import reward_table
from esper_karn.tui.block import Block, Line, message, paragraph, stack, table
from esper_karn.tui.drawings.history import Histories
from esper_karn.tui.palette import Palette
from esper_karn.views.policy import OpView, Policy, Rewards
from esper_karn.views.summary import Health, VerdictView
from esper_leyline.health import Level

BAR = 8
_LONG, _SHORT = 32, 12
"""Columns of a history where there is room, and where there is not."""

_LOSSES = (
    ("policy loss", "policy_loss"),
    ("value loss", "value_loss"),
    ("entropy, at most 1", "entropy"),
    ("KL divergence", "kl"),
    ("clip fraction", "clip_fraction"),
    ("gradient norm", "gradient_norm"),
    ("learning rate", "learning_rate"),
    ("entropy coefficient", "entropy_coefficient"),
)
_VALUES = (("explained variance", "explained_variance"),)


def update_block(found: Policy | None, histories: Histories, palette: Palette, width: int) -> Block:
    """Draws the losses of the latest update with their histories."""
    if found is None or found.empty is not None:
        return message(found.empty if found else "no update yet", width, palette.faint)
    kept = format_significant(found.gradient_kept)
    passes = MISSING if found.passes is None else str(found.passes)
    more = [
        ("gradient kept", kept),
        ("smallest ratio", format_fixed(found.ratio_min, 3)),
        ("largest ratio", format_fixed(found.ratio_max, 3)),
        ("passes", passes),
    ]
    block = _numbers(found, _LOSSES, more, histories, palette, width=width)
    if found.skipped is None:
        return block
    warning = paragraph(f"▲ update skipped: {found.skipped}", width, palette.warning, "  ")
    return stack([Block(lines=warning), block])


def value_block(found: Policy | None, histories: Histories, palette: Palette, width: int) -> Block:
    """Draws how well the critic predicts, and what the recurrent state does."""
    if found is None or found.empty is not None:
        return message(found.empty if found else "no update yet", width, palette.faint)
    more = [
        ("returns", _spread(found.return_mean, found.return_std)),
        ("advantages", _spread(found.advantage_mean, found.advantage_std)),
        ("LSTM hidden norm", format_significant(found.lstm_hidden_norm)),
        ("LSTM cell norm", format_significant(found.lstm_cell_norm)),
    ]
    return _numbers(found, _VALUES, more, histories, palette, width=width)


def heads_block(found: Policy | None, histories: Histories, palette: Palette, width: int) -> Block:
    """Draws entropy, gradient and KL of each head."""
    if found is None or not found.heads:
        return message(found.empty if found else "no update yet", width, palette.faint)
    heads = found.heads

    def variant(room: int) -> TableVariant:
        pictures = [histories.draw(f"entropy/{each.head}", room) for each in heads]
        gradients = [format_significant(each.gradient_norm) for each in heads]
        return TableVariant(
            columns=[
                Column(head="head", cells=[each.head for each in heads], left=True),
                Column(head="entropy", cells=[format_fixed(each.entropy, 3) for each in heads]),
                _history(pictures, palette),
                Column(head="gradient", cells=gradients, rank=1),
                Column(head="KL", cells=[format_significant(each.kl) for each in heads], rank=2),
            ]
        )

    return table(variant(_LONG), variant(_SHORT), width=width)


def ops_block(found: Policy | None, histories: Histories, palette: Palette, width: int) -> Block:
    """Draws how often each op was chosen, and its Q with the steps in which it was open."""
    if found is None or not found.ops:
        return message(found.empty if found else "no round yet", width, palette.faint)
    ops = found.ops
    block = table(
        _ops(ops, histories, palette, _LONG), _ops(ops, histories, palette, _SHORT), width=width
    )
    spread = f"Q spread {format_significant(found.q_spread)}  {histories.draw('q_spread', _SHORT)}"
    lines = [*block.lines, *paragraph(spread.rstrip(), width)]
    if found.ops_round is not None:
        text = f"chosen in round {format_index(found.ops_round)}"
        lines += paragraph(text, width, palette.faint)
    return Block(lines=lines, head=block.head)


def health_block(found: Health | None, palette: Palette, width: int) -> Block:
    """Draws every check with its value and its limit, and advice where it is not well."""
    if found is None or not found.verdicts:
        return message("nothing was checked yet", width, palette.faint)
    blocks = [Block(lines=_verdict(each, palette, width)) for each in found.verdicts]
    return stack(blocks)


def rewards_block(found: Rewards | None, palette: Palette, width: int) -> Block:
    """Draws the mean reward of the latest round by component."""
    if found is None or found.empty is not None:
        return message(found.empty if found else "no episode yet", width, palette.faint)
    block = components_block(found.components, palette, width)
    total = f"total {format_signed(found.total)} in round {format_index(found.round)}"
    return Block(lines=[*block.lines, *paragraph(total, width, palette.strong)], head=block.head)


def components_block(components: dict[str, float], palette: Palette, width: int) -> Block:
    """Draws a reward by component, with bars of what each adds."""
    variant = reward_table(
        list(components.items()), head="reward", bar_width=BAR, style=palette.sign
    )
    return table(variant, width=width)


def _numbers(
    found: Policy,
    series: Sequence[tuple[str, str]],
    more: Sequence[tuple[str, str]],
    histories: Histories,
    palette: Palette,
    *,
    width: int,
) -> Block:
    def variant(room: int) -> TableVariant:
        pictures = [histories.draw(name, room) for _, name in series]
        values = [format_significant(getattr(found, name)) for _, name in series]
        return TableVariant(
            columns=[
                Column(
                    head="",
                    cells=[*(label for label, _ in series), *(label for label, _ in more)],
                    left=True,
                ),
                Column(head="latest", cells=[*values, *(value for _, value in more)]),
                _history([*pictures, *([""] * len(more))], palette),
            ]
        )

    return table(variant(_LONG), variant(_SHORT), width=width)


def _history(pictures: Sequence[str], palette: Palette) -> Column:
    return Column(
        head="history",
        cells=pictures,
        left=True,
        rank=3,
        styles=[palette.accent] * len(pictures),
    )


def _ops(ops: Sequence[OpView], histories: Histories, palette: Palette, room: int) -> TableVariant:
    values = [each.q_mean for each in ops if each.q_mean is not None and math.isfinite(each.q_mean)]
    low, reach = min(values, default=0.0), (max(values, default=0.0) - min(values, default=0.0))
    shares = [MISSING if each.share is None else format_fixed(100 * each.share, 1) for each in ops]
    steps = ["never" if not each.valid_steps else format_count(each.valid_steps) for each in ops]
    return TableVariant(
        columns=[
            Column(head="op", cells=[each.op for each in ops], left=True),
            Column(head="chosen", cells=[format_count(each.chosen) for each in ops], rank=4),
            Column(head="%", cells=shares),
            Column(
                head="",
                name="bars of shares",
                cells=[bar(each.share or 0.0, BAR) for each in ops],
                left=True,
                rank=7,
                styles=[palette.accent] * len(ops),
            ),
            Column(head="Q", cells=[format_number(each.q_mean, 2) for each in ops]),
            Column(head="±", cells=[format_number(each.q_deviation, 2) for each in ops], rank=1),
            Column(
                head="",
                name="bars of Q",
                cells=[_q_bar(each, low, reach) for each in ops],
                left=True,
                rank=6,
            ),
            Column(head="open", cells=steps, rank=2),
            _history([histories.draw(f"q_mean/{each.op}", room) for each in ops], palette),
            Column(
                head="variance",
                cells=[format_significant(each.q_variance) for each in ops],
                rank=9,
            ),
            Column(
                head="of variance",
                cells=[histories.draw(f"q_variance/{each.op}", room) for each in ops],
                left=True,
                rank=5,
                styles=[palette.faint] * len(ops),
            ),
        ]
    )


def _q_bar(view: OpView, low: float, reach: float) -> str:
    """Draws Q between the smallest and the largest of the ops."""
    if view.q_mean is None or not math.isfinite(view.q_mean):
        return ""
    return bar((view.q_mean - low) / reach if reach else 1.0, BAR) or "▏"


def _verdict(each: VerdictView, palette: Palette, width: int) -> list[Line]:
    side = "below" if each.below else "from"
    where = f", {each.where}" if each.where else ""
    text = f"{LEVEL_MARKS[each.level]} {each.measures}{where}: {format_significant(each.value)}"
    if each.level is Level.UNKNOWN:
        return paragraph(f"{text}, too little measured", width, palette.faint, "  ")
    name = "warning" if each.level is Level.OK else each.level.value
    text = f"{text} ({name} {side} {format_significant(each.threshold)})"
    if each.level is not Level.OK:
        text = f"{text}. {each.advice}"
    return paragraph(text, width, palette.level(each.level), "  ")


def _spread(mean: float | None, deviation: float | None) -> str:
    return f"{format_signed(mean)} ± {format_fixed(deviation, 2)}"
