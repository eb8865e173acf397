"""Panels of decisions: what was chosen, what else was open, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from esper_karn.state.decisions import DecisionRecord
from esper_karn.state.run import RunState
from esper_karn.views.levels import why_empty
from esper_leyline import BUILT_IN_BLUEPRINTS, HEADS, FactoredAction, Op
from esper_leyline.actions import (
    ALPHA_SPEED_TICKS,
    ALPHA_TARGETS,
    RELEVANT_HEADS,
    TEMPO_EPOCHS,
    AlphaCurve,
    BlendStyle,
    blueprint_choices,
)
from esper_leyline.events import Decision, HeadDecision
from esper_leyline.wire import WIRE_CONFIG, Float

CARDS = 20
"""Decisions of a panel, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceView:
    """A choice of a head that was open, and how likely it was."""

    name: str
    probability: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChoice:
    """What one head chose.

    Attributes:
        probability: Of the chosen one; ``None`` for a controller without probabilities.
        open: Every choice that was open, the likeliest first.
        masked: The other choices of the head.
    """

    head: str
    chosen: str
    probability: Float | None
    open: tuple[ChoiceView, ...]
    masked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCard:
    """One decision.

    Attributes:
        sequence: Sequence number of its event: the moment to go to.
        slot: The slot that it is about; ``None`` for ``WAIT``.
        forced: Whether nothing but ``WAIT`` was open.
        reason: Why, in a sentence; ``None`` for a policy.
        rejection: Why the host did not accept it, ``None`` if it did.
        heads: The heads that the op reads, in the order in which they are sampled.
        value: Expected return, in reward units; ``None`` without a critic.
        q_values: Q by op; empty without a critic.
        reward: What it earned, ``None`` if nothing paid for it; ``parts`` by component.
        flags: Suspicions about the reward.
    """

    sequence: int
    round: int | None
    epoch: int | None
    environment: int | None
    op: str
    slot: str | None
    succeeded: bool
    forced: bool
    reason: str | None
    rejection: str | None
    heads: tuple[HeadChoice, ...]
    value: Float | None
    q_values: dict[str, Float]
    reward: Float | None
    parts: dict[str, Float]
    flags: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsView:
    """The latest decisions, the latest first."""

    __pydantic_config__ = WIRE_CONFIG

    cards: tuple[DecisionCard, ...]
    empty: str | None


def decisions(state: RunState, environment: int | None = None) -> DecisionsView:
    """Selects the latest decisions.

    Args:
        state: The run.
        environment: Of one host; ``None`` for all.
    """
    choices = _blueprints(state)
    slots = state.built.slots if state.built else ()
    records = [
        each
        for each in state.decisions.records
        if environment is None or each.environment == environment
    ]
    return DecisionsView(
        cards=tuple(_card(each, choices, slots) for each in records[: -CARDS - 1 : -1]),
        empty=why_empty(state, ["decision"], "no decision yet", shown=bool(records)),
    )


def _blueprints(state: RunState) -> tuple[str, ...]:
    config = state.started.config if state.started else None
    return blueprint_choices((config.blueprints if config else None) or BUILT_IN_BLUEPRINTS)


@lru_cache(maxsize=4096)
def _card(
    record: DecisionRecord, blueprints: tuple[str, ...], slots: tuple[str, ...]
) -> DecisionCard:
    decision = record.decision
    reward, action = decision.reward, decision.action
    relevant = RELEVANT_HEADS[action.op]
    return DecisionCard(
        sequence=record.sequence,
        round=record.round,
        epoch=record.epoch,
        environment=record.environment,
        op=action.op.name,
        slot=decision.slot if "slot" in relevant else None,
        succeeded=decision.succeeded,
        forced=decision.forced,
        reason=decision.reason,
        rejection=decision.rejection,
        heads=tuple(_head(name, decision, blueprints, slots) for name in HEADS if name in relevant),
        value=decision.value,
        q_values={op.name: value for op, value in zip(Op, decision.q_values or (), strict=False)},
        reward=reward.total if reward else None,
        parts=dict(reward.components) if reward else {},
        flags=tuple(
            flag.kind if flag.slot is None else f"{flag.kind} in {flag.slot}"
            for flag in (reward.flags if reward else ())
        ),
        notes=reward.notes if reward else (),
    )


def _head(
    name: str, decision: Decision, blueprints: tuple[str, ...], slots: tuple[str, ...]
) -> HeadChoice:
    found = decision.heads.get(name)
    names = _choices(name, blueprints, slots)
    chosen, label = _chosen(name, decision.action, blueprints), None
    if name == "slot" and decision.slot is not None:
        label = decision.slot
    return HeadChoice(
        head=name,
        chosen=label or _label(names, chosen),
        probability=_probability(found, chosen),
        open=_open(found, names),
        masked=tuple(
            _label(names, index)
            for index, valid in enumerate(found.valid if found else ())
            if not valid
        ),
    )


def _open(found: HeadDecision | None, names: Sequence[str]) -> tuple[ChoiceView, ...]:
    if found is None:
        return ()
    pairs = enumerate(zip(found.probabilities, found.valid, strict=False))
    views = [
        ChoiceView(name=_label(names, index), probability=probability)
        for index, (probability, valid) in pairs
        if valid and probability is not None
    ]
    return tuple(sorted(views, key=lambda view: -view.probability))


def _probability(found: HeadDecision | None, chosen: int) -> float | None:
    if found is None or not 0 <= chosen < len(found.probabilities):
        return None
    return found.probabilities[chosen]


def _chosen(name: str, action: FactoredAction, blueprints: tuple[str, ...]) -> int:
    if name == "blueprint":
        return blueprints.index(action.blueprint) if action.blueprint in blueprints else -1
    return int(getattr(action, name))


def _choices(name: str, blueprints: tuple[str, ...], slots: tuple[str, ...]) -> Sequence[str]:
    """Returns the names of a head's choices, with their units."""
    return {
        "op": [op.name for op in Op],
        "slot": slots,
        "blueprint": blueprints,
        "style": [style.name for style in BlendStyle],
        "tempo": [f"{epochs} epochs" for epochs in TEMPO_EPOCHS],
        "alpha_target": [f"{target:g}" for target in ALPHA_TARGETS],
        "alpha_speed": [f"{ticks} epochs" if ticks else "at once" for ticks in ALPHA_SPEED_TICKS],
        "alpha_curve": [curve.name for curve in AlphaCurve],
    }[name]


def _label(names: Sequence[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else f"choice {index}"
