"""What events of the policy change: its updates and its decisions."""

from __future__ import annotations

import math

from esper_karn.state.draft import Draft
from esper_karn.state.series import CHART_CAPACITY
from esper_karn.state.stamped import stamp
from esper_leyline import BUILT_IN_BLUEPRINTS, head_sizes
from esper_leyline.events import Decision, Event, PPOUpdate
from esper_leyline.health import entropy_above_floor

_CHARTS = (
    "entropy",
    "kl",
    "clip_fraction",
    "explained_variance",
    "policy_loss",
    "value_loss",
    "gradient_norm",
    "q_spread",
)
_SMALL = (
    "ratio_min",
    "ratio_max",
    "advantage_std",
    "return_std",
    "lstm_hidden_norm",
    "learning_rate",
)


def decision(draft: Draft, event: Event, _payload: Decision) -> None:
    """A controller decided."""
    draft.decisions.append(event)
    draft.decisions_at = event.sequence


def ppo_update(draft: Draft, event: Event, payload: PPOUpdate) -> None:
    """The policy learned from a round."""
    number = event.round or 0
    draft.update, draft.update_at = stamp(event, payload), event.sequence
    for name in _CHARTS:
        draft.add_sample(name, number, getattr(payload, name), capacity=CHART_CAPACITY)
    for name in _SMALL:
        draft.add_sample(name, number, getattr(payload, name))
    for head, entropy in payload.head_entropy.items():
        draft.add_sample(f"entropy/{head}", number, entropy)
    for head, norm in payload.head_gradient_norm.items():
        draft.add_sample(f"gradient/{head}", number, norm)
    for q_value in payload.q_values:
        draft.add_sample(f"q_mean/{q_value.op}", number, q_value.mean)
        draft.add_sample(f"q_variance/{q_value.op}", number, q_value.variance)
    _judge_update(draft, payload)


def _judge_update(draft: Draft, update: PPOUpdate) -> None:
    skipped = draft.verdicts.get("updates")
    in_row = (skipped.value or 0.0) + 1 if skipped is not None else 1.0
    draft.judge("updates", in_row if update.skipped is not None else 0.0, update.skipped or "")
    if update.skipped is not None:
        return
    draft.judge("entropy", *_lowest_entropy(draft, update))
    draft.judge("q_spread", _relative_spread(update))
    draft.judge("critic", update.explained_variance)
    draft.judge("gradient", update.gradient_norm)
    draft.judge("clipping", update.gradient_kept)
    divergences = {head: kl for head, kl in update.head_kl.items() if kl is not None}
    head = max(divergences, key=lambda name: _rank(divergences[name]), default="")
    draft.judge("kl", divergences.get(head, update.kl), head)


def _lowest_entropy(draft: Draft, update: PPOUpdate) -> tuple[float | None, str]:
    """Returns the entropy of the head that is nearest to its least one, from 0 to 1."""
    rooms = {
        head: _room(draft, head, entropy)
        for head, entropy in update.head_entropy.items()
        if entropy is not None
    }
    head = min(rooms, key=lambda name: -_rank(-rooms[name]), default="")
    return rooms.get(head), head


def _room(draft: Draft, head: str, entropy: float) -> float:
    """Returns how far a head is from the least entropy that its floor allows; 1 is uniform."""
    config = draft.started.config if draft.started else None
    floor = config.policy.floors.get(head, 0.0) if config else 0.0
    slots = len(draft.built.slots) if draft.built else 1
    size = head_sizes(max(1, slots), BUILT_IN_BLUEPRINTS).get(head, 2)
    return entropy_above_floor(entropy, floor, size)


def _relative_spread(update: PPOUpdate) -> float | None:
    """Returns the spread of Q over ops in standard deviations of the returns."""
    spread, deviation = update.q_spread, update.return_std
    if spread is None or deviation is None or deviation == 0:
        return None
    return spread / deviation


def _rank(value: float) -> float:
    """Returns a value for comparisons in which NaN is the largest."""
    return math.inf if math.isnan(value) else value
