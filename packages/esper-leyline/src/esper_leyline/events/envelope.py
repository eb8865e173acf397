"""The envelope of events, and how a line of a log is written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from esper_leyline.errors import LeylineError, show_text
from esper_leyline.events.payloads import PAYLOADS, Payload
from esper_leyline.wire import SIX_DIGITS, WIRE_CONFIG

SCHEMA_VERSION = 3
"""Version of the event schema; it changes with every change to any public contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a run's log.

    Attributes:
        run_id: The run; ``None`` if neither the line nor a line before it says so.
        boot: Counts the processes that have written this run's log, from 0.
        sequence: Counts the run's events without gaps, from 0, across boots.
        monotonic: Seconds since the boot's start, for durations.
        wall_time: Unix time, for people.
        group: The comparison that the run is an arm of; ``None`` outside one, and where neither the
            line nor a line before it names the run.
        round: Round of episodes that the event belongs to, from 1; ``None`` for the whole run.
        epoch: Epochs of the episode that were trained, the present one included; ``None`` where
            the event is not about one.
        environment: Index of the environment concerned, ``None`` for the whole run.
        coalesced: How many other samples of this kind were left out in favour of this one.
    """

    __pydantic_config__ = WIRE_CONFIG

    schema_version: int = SCHEMA_VERSION
    run_id: str | None = None
    boot: Annotated[int, Field(ge=0)] = 0
    sequence: Annotated[int, Field(ge=0)]
    monotonic: float
    wall_time: float
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


def encode_event(event: Event, *, name_run: bool = True) -> bytes:
    """Writes an event as one line of a log, without the newline.

    What has its default is left out, but for the configuration of a run: its defaults may be
    others for the Esper that reads it. Floats have six or seven significant digits, the two
    clocks three decimals.

    Args:
        event: The event.
        name_run: Whether to write ``run_id`` and ``group``; ``parse_event`` takes them where the
            line lacks them.
    """
    payload = event.payload
    kind = payload.kind
    rest = _ADAPTERS[kind].dump_json(
        payload,
        exclude={"kind"},
        exclude_defaults=kind not in _WRITTEN_IN_FULL,
        context=SIX_DIGITS,
    )
    separator = b"," if len(rest) > len(b"{}") else b""
    return b'%b,"payload":{"kind":"%b"%b%b}' % (
        _stamps(event, name_run=name_run).encode(),
        kind.encode(),
        separator,
        rest[1:],
    )


def parse_event(line: bytes, run_id: str | None = None, group: str | None = None) -> Event:
    """Reads one line of a log.

    Args:
        line: The line.
        run_id: The run, where the line does not name it.
        group: The comparison of that run, where the line names neither.

    Raises:
        EventVersionError: If the line was written under another schema version.
        ValidationError: If it is no event, or has an integer of more than 18 digits, with which
            no reader could calculate.
        RecursionError: If it is nested too deep.
    """
    try:
        event = _EVENT.validate_json(line)
        if _LONG_INTEGER in line.translate(_DIGITS_AS_ZEROS):
            _refuse_long_integers(line)
    except ValidationError:
        _check_version(_claimed_version(line))
        raise
    _check_version(event.schema_version)
    if event.run_id is None:
        # No other code has the event yet; a copy would take as long as reading a short line.
        if run_id is not None:
            object.__setattr__(event, "run_id", run_id)
        if event.group is None and group is not None:
            object.__setattr__(event, "group", group)
    return event


def _stamps(event: Event, *, name_run: bool) -> str:
    """Returns the beginning of a line: the envelope, without the closing brace."""
    parts = [f'{{"schema_version":{event.schema_version}']
    if name_run and event.run_id is not None:
        parts.append(f'"run_id":{json.dumps(event.run_id)}')
    if name_run and event.group is not None:
        parts.append(f'"group":{json.dumps(event.group)}')
    if event.boot:
        parts.append(f'"boot":{event.boot}')
    parts.append(
        f'"sequence":{event.sequence},"monotonic":{event.monotonic:.3f},'
        f'"wall_time":{event.wall_time:.3f}'
    )
    if event.round is not None:
        parts.append(f'"round":{event.round}')
    if event.epoch is not None:
        parts.append(f'"epoch":{event.epoch}')
    if event.environment is not None:
        parts.append(f'"environment":{event.environment}')
    if event.coalesced:
        parts.append(f'"coalesced":{event.coalesced}')
    return ",".join(parts)


def _refuse_long_integers(line: bytes) -> None:
    """Raises a ``ValidationError`` if a JSON value has an integer of more than 18 digits."""
    digits = max(_integer_lengths(line), default=0)
    if digits > _MOST_DIGITS:
        message = f"an integer has {digits} digits, and at most {_MOST_DIGITS} are read"
        error = InitErrorDetails(type=PydanticCustomError("integer_digits", message), input=None)
        raise ValidationError.from_exception_data("Event", [error])


def _integer_lengths(line: bytes) -> list[int]:
    lengths: list[int] = []
    json.loads(line, parse_int=lambda text: lengths.append(len(text.lstrip("-"))))
    return lengths


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


_EVENT = TypeAdapter(Event)

_ADAPTERS: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {kind: TypeAdapter(payload) for kind, payload in PAYLOADS.items()}
)

_WRITTEN_IN_FULL = frozenset({"run_started"})

_MOST_DIGITS = 18

# A search of a translated line takes a seventh of the time of a regular expression. It also finds
# long fractions and digits in texts, so what it finds is looked at again.
_LONG_INTEGER = b"0" * (_MOST_DIGITS + 1)
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
