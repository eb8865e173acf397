"""The envelope of events, and how a line of a log is read."""

from __future__ import annotations

import json

from pydantic import Field, ValidationError

from esper_leyline.errors import LeylineError, show_text
from esper_leyline.events.payloads import Payload
from esper_leyline.wire import Contract, Float

SCHEMA_VERSION = 2
"""Version of the event schema; it changes with every change to any public contract."""


class Event(Contract):
    """One line of a run's log.

    Attributes:
        boot: Counts the processes that have written this run's log, from 0.
        sequence: Counts the run's events without gaps, from 0, across boots.
        monotonic: Seconds since the boot's start, for durations.
        wall_time: Unix time, for people.
        group: The comparison that the run is an arm of; ``None`` outside one.
        round: Round of episodes that the event belongs to, from 1; ``None`` for the whole run.
        epoch: Epochs of the episode that were trained, the present one included; ``None`` where
            the event is not about one.
        environment: Index of the environment concerned, ``None`` for the whole run.
        coalesced: How many other samples of this kind were left out in favour of this one.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    boot: int = Field(default=0, ge=0)
    sequence: int = Field(ge=0)
    monotonic: Float
    wall_time: Float
    group: str | None = None
    round: int | None = None
    epoch: int | None = None
    environment: int | None = None
    coalesced: int = 0
    payload: Payload

    @property
    def kind(self) -> str:
        """The payload's kind."""
        return self.payload.kind


class EventVersionError(LeylineError):
    """An event was written under another version of the event schema."""


def parse_event(line: bytes) -> Event:
    """Reads one line of a log.

    Raises:
        EventVersionError: If the line was written under another schema version.
        ValidationError: If it is no event.
        RecursionError: If it is nested too deep.
    """
    try:
        event = Event.model_validate_json(line)
    except ValidationError:
        _check_version(_claimed_version(line))
        raise
    _check_version(event.schema_version)
    return event


def _check_version(version: object) -> None:
    if version != SCHEMA_VERSION:
        raise EventVersionError(
            f"has schema version {show_text(repr(version), 40)}, and this Esper reads version "
            f"{SCHEMA_VERSION}: read it with the Esper that wrote it, or train again"
        )


def _claimed_version(line: bytes) -> object:
    """Returns the version that a line names; that of this package where it names none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return SCHEMA_VERSION
    return (
        record.get("schema_version", SCHEMA_VERSION) if isinstance(record, dict) else SCHEMA_VERSION
    )
