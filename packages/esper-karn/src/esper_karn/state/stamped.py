"""A payload with the part of its envelope that says when and where it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from esper_leyline.events import AnyPayload, Event

PayloadT = TypeVar("PayloadT", bound=AnyPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped(Generic[PayloadT]):
    """A payload, and when and where it happened.

    Attributes:
        sequence: Sequence number of the event.
        round: Round of episodes, from 1; ``None`` for the whole run.
        epoch: Epochs of the episode that were trained, ``None`` if it is not about one.
        environment: Index of the environment, ``None`` for the whole run.
    """

    sequence: int
    round: int | None
    epoch: int | None
    environment: int | None
    payload: PayloadT


def stamp(event: Event, payload: PayloadT) -> Stamped[PayloadT]:
    """Returns the payload of an event, stamped."""
    return Stamped(
        sequence=event.sequence,
        round=event.round,
        epoch=event.epoch,
        environment=event.environment,
        payload=payload,
    )
