"""The latest decisions of a run, each kept as its line of JSON."""

from __future__ import annotations

from dataclasses import dataclass

from esper_leyline.events import Decision, Event

DECISIONS = 200
"""Decisions that are kept, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision and when and where it was made.

    As JSON it takes a tenth of the memory of the object; few of them are ever looked at.

    Attributes:
        sequence: Sequence number of its event.
        round: Round of episodes, from 1.
        epoch: Epochs of the episode that were trained.
        environment: Index of the environment.
        text: The decision as JSON.
    """

    sequence: int
    round: int | None
    epoch: int | None
    environment: int | None
    text: str

    @property
    def decision(self) -> Decision:
        """The decision."""
        return Decision.model_validate_json(self.text)


def record_decision(event: Event) -> DecisionRecord:
    """Returns the record of a decision's event."""
    payload = event.payload
    assert isinstance(payload, Decision)
    return DecisionRecord(
        sequence=event.sequence,
        round=event.round,
        epoch=event.epoch,
        environment=event.environment,
        text=payload.model_dump_json(exclude_defaults=True),
    )
