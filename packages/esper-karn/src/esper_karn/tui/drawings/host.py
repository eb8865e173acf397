"""One host: its slots, what they went through, what each seed adds, and its reward."""

from __future__ import annotations

from collections.abc import Sequence

from esper_karn.formatting import (
    MISSING,
    format_count,
    format_fixed,
    format_index,
    format_signed,
    format_significant,
    pluralize,
)
from esper_karn.terminal.glyphs import bar, sparkline
from esper_karn.terminal.layout import Column, TableVariant
from esper_karn.tui.block import Block, Line, flow, message, paragraph, span, stack, table
from esper_karn.tui.drawings.policy import components_block
from esper_karn.tui.palette import Palette
from esper_karn.views.host import EpisodeView, HostView, LifelineView, SlotView
from esper_karn.views.stages import STAGE_LETTERS
from esper_leyline.profiles import LayerProfile

BAR = 16
NAME = 10
"""Least columns of the names on the left of lifelines."""


def slots_block(found: HostView, palette: Palette, width: int) -> Block:
    """Draws the state of each slot."""
    blocks = [Block(lines=flow(_summary(found), width))]
    if found.empty is not None:
        blocks.append(message(found.empty, width, palette.faint))
    if found.slots:
        blocks.append(table(_slots(found.slots, palette), width=width))
    return stack(blocks)


def lifelines_block(found: HostView, palette: Palette, width: int) -> Block:
    """Draws the stages of each slot over the epochs of this episode, and of the best one."""
    blocks = [_episode("this episode", found.current, palette, width)]
    if found.best is not None:
        blocks.append(_episode("best episode", found.best, palette, width))
    legend = (f"{letter} {name.lower()}" for name, letter in STAGE_LETTERS.items())
    blocks.append(Block(lines=flow(legend, width, palette.faint)))
    return stack(blocks)


def counterfactuals_block(found: HostView, palette: Palette, width: int) -> Block:
    """Draws what each seed adds: accuracy with more and more seeds, and Shapley values."""
    matrix = found.counterfactuals
    if matrix is None:
        return message(found.counterfactuals_empty, width, palette.faint)
    steps = matrix.waterfall
    names = [each.slot or "host alone" for each in steps]
    columns = [
        Column(head="with", cells=names, left=True),
        Column(head="accuracy %", cells=[format_fixed(each.accuracy, 1) for each in steps]),
        Column(
            head="adds",
            cells=[format_signed(each.change, 1) if each.slot else "" for each in steps],
            styles=[palette.sign(each.change) for each in steps],
        ),
        Column(
            head="",
            name="bars",
            cells=[bar((each.accuracy or 0.0) / 100.0, BAR) for each in steps],
            left=True,
            rank=2,
            styles=[palette.accent] * len(steps),
        ),
    ]
    if found.shapley:
        shapley = found.shapley
        cells = [
            format_signed(shapley[each.slot], 2) if each.slot in shapley else "" for each in steps
        ]
        columns.append(Column(head="Shapley", cells=cells, rank=1))
    block = table(TableVariant(columns=columns), width=width)
    epoch = "" if matrix.epoch is None else f"measured in epoch {format_index(matrix.epoch)}"
    return Block(lines=[*block.lines, *paragraph(epoch, width, palette.faint)], head=block.head)


def reward_block(found: HostView, palette: Palette, width: int) -> Block:
    """Draws the rewards of the episode so far, by component."""
    if not found.rewards:
        return message("no reward in this episode yet", width, palette.faint)
    block = components_block(found.rewards, palette, width)
    total = f"return so far {format_signed(found.episode_return)}"
    return Block(lines=[*block.lines, *paragraph(total, width, palette.strong)], head=block.head)


def profile_block(found: HostView, palette: Palette, width: int) -> Block:
    """Draws what a telemetry profile measured last: layers, classes, sharpness."""
    profile = found.profile
    if profile is None:
        return message(found.profile_empty, width, palette.faint)
    parts = [
        f"{profile.profile}: round {_index(profile.round)}, epoch {_index(profile.epoch)}",
        f"{format_fixed(1000 * profile.seconds, 1)} ms",
    ]
    if profile.sharpness is not None:
        rises = (profile.sharpness.mean_rise, profile.sharpness.largest_rise)
        mean, largest = map(format_significant, rises)
        parts.append(f"sharpness {mean}, at most {largest} nats")
    blocks = [Block(lines=flow(parts, width)), table(_layers(profile.layers), width=width)]
    if profile.class_accuracy:
        classes = [f"{each} %" for each in _classes(profile.class_accuracy)]
        blocks.append(Block(lines=flow(["by class:", *classes], width)))
    return stack(blocks)


def _layers(layers: Sequence[LayerProfile]) -> TableVariant:
    def percent(shares: Sequence[float | None]) -> list[str]:
        return [format_fixed(None if each is None else 100 * each, 1) for each in shares]

    columns = [
        Column(head="layer", cells=[each.name for each in layers], left=True),
        Column(head="gradient", cells=[format_significant(each.gradient_norm) for each in layers]),
        Column(
            head="weights",
            cells=[format_significant(each.weight_norm) for each in layers],
            rank=1,
        ),
        Column(head="zeros %", cells=percent([each.zero_share for each in layers]), rank=2),
        Column(
            head="exploding %", cells=percent([each.exploding_share for each in layers]), rank=3
        ),
    ]
    # What the profile does not measure has no column.
    return TableVariant(columns=[each for each in columns if set(each.cells) != {MISSING}])


def _classes(accuracies: Sequence[float | None]) -> list[str]:
    return [f"{number} {format_fixed(each, 1)}" for number, each in enumerate(accuracies)]


def _index(value: int | None) -> str:
    return MISSING if value is None else format_index(value)


def _summary(found: HostView) -> list[str]:
    card = found.card
    parts = [
        f"round {format_index(card.round)}, epoch {format_index(card.epoch)}",
        f"accuracy {format_fixed(card.accuracy, 1)} % ({format_signed(card.gain, 1)})",
        f"best {format_fixed(card.best_accuracy, 1)} %",
        f"training {format_fixed(found.train_accuracy, 1)} %",
        f"loss {format_fixed(card.val_loss, 3)}, training {format_fixed(found.train_loss, 3)}",
        f"parameters {format_count(card.parameters)}",
    ]
    if found.test_accuracy is not None:
        parts.append(f"test {format_fixed(found.test_accuracy, 1)} %")
    if card.ended is not None:
        parts.append(f"ended: {card.ended}")
    return parts


def _slots(slots: Sequence[SlotView], palette: Palette) -> TableVariant:
    stages = [f"{STAGE_LETTERS.get(each.stage, '?')} {each.stage.lower()}" for each in slots]
    contributions = [format_signed(each.contribution, 2) for each in slots]
    gates = [
        ""
        if each.gate is None
        else f"{each.gate} {'✖ ' + ', '.join(each.failed) if each.failed else '✔'}"
        for each in slots
    ]
    return TableVariant(
        columns=[
            Column(head="slot", cells=[each.slot for each in slots], left=True),
            Column(
                head="stage",
                cells=stages,
                left=True,
                styles=[palette.stages.get(each.stage, "") for each in slots],
            ),
            Column(head="blueprint", cells=[each.blueprint or "" for each in slots], left=True),
            Column(head="alpha", cells=[format_fixed(each.alpha, 2) for each in slots], rank=1),
            Column(
                head="adds",
                cells=contributions,
                rank=2,
                styles=[palette.sign(each.contribution) for each in slots],
            ),
            Column(
                head="epochs in stage", cells=[str(each.epochs_in_stage) for each in slots], rank=4
            ),
            Column(
                head="parameters", cells=[format_count(each.parameters) for each in slots], rank=5
            ),
            Column(
                head="gradient",
                cells=[format_significant(each.gradient_norm) for each in slots],
                rank=3,
            ),
            Column(head="style", cells=[each.style or "" for each in slots], left=True, rank=7),
            Column(head="gate", cells=gates, left=True, rank=6),
            Column(
                head="open ops",
                cells=[" ".join(each.permitted) for each in slots],
                left=True,
                rank=8,
            ),
        ]
    )


def _episode(name: str, episode: EpisodeView, palette: Palette, width: int) -> Block:
    left = max([NAME, *(len(each.slot) + 2 for each in episode.lifelines)])
    room = max(8, width - left)
    title = (
        f"{name}: round {format_index(episode.round)}, {pluralize(episode.epochs, 'epoch')}, "
        f"best {format_fixed(episode.best_accuracy, 1)} %"
    )
    lines: list[Line] = paragraph(title, width, palette.strong)
    values: list[float | None] = [None] * room
    for epoch, accuracy in episode.accuracy:
        values[_column(epoch, episode.epochs, room)] = accuracy
    if episode.epochs < room:
        values = values[: max(1, episode.epochs)]
    picture = sparkline(values, room)
    lines.append([span("accuracy".ljust(left), palette.faint), span(picture, palette.accent)])
    lines += [_lifeline(each, episode.epochs, palette, room, left) for each in episode.lifelines]
    return Block(lines=[*lines, []])


def _lifeline(line: LifelineView, epochs: int, palette: Palette, room: int, left: int) -> Line:
    columns = min(room, max(1, epochs))
    stages = ["DORMANT"] * columns
    for each in line.spans:
        start = _column(each.start, epochs, room)
        stages[start:] = [each.stage] * (columns - start)
    pieces = [span(line.slot.ljust(left), palette.faint)]
    pieces += [
        span(STAGE_LETTERS.get(stage, "?"), palette.stages.get(stage, palette.faint))
        for stage in stages
    ]
    return pieces


def _column(epoch: int, epochs: int, room: int) -> int:
    """Returns the column of an epoch; one column an epoch where there is room for all."""
    if epochs <= room:
        return min(max(0, epoch - 1), max(0, epochs - 1))
    return min(room - 1, max(0, (epoch - 1) * room // epochs))
