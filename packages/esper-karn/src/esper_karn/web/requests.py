"""What a browser asks for, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esper_karn.errors import KarnError, first_problem

Request = TypeVar("Request", bound=BaseModel)

EVENTS_AT_ONCE = 1000
"""Most events in one answer."""

LINES_AT_ONCE = 500
"""Most lines of the log in one answer."""


class FrameRequest(BaseModel):
    """Asks for what changed of a view.

    Attributes:
        run: Id of the run.
        view: Name of the view, such as ``hosts`` or ``host/3``.
        from_sequence: The last event that the browser's view knows, -1 for none; on the wire
            ``from``.
        stream: The stream of that view; with another one the whole view is answered.
        at: The moment to show, as the sequence number of an event; ``None`` for the latest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str = Field(max_length=255)
    view: str = Field(max_length=64)
    from_sequence: int = Field(default=-1, alias="from", ge=-1)
    stream: str | None = Field(default=None, max_length=512)
    at: int | None = Field(default=None, ge=0)


class EventsRequest(BaseModel):
    """Asks for events of a log.

    Attributes:
        from_sequence: Sequence number of the first event; on the wire ``from``.
        kind: Only events of this kind, ``None`` for all.
        limit: Most events to answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_sequence: int = Field(default=0, alias="from", ge=0)
    kind: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=200, ge=1, le=EVENTS_AT_ONCE)


class LogRequest(BaseModel):
    """Asks for lines of the log that are older than those of its panel.

    Attributes:
        before: Only lines before this event; ``None`` for the latest lines.
        limit: Most lines to answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: int | None = Field(default=None, ge=0)
    limit: int = Field(default=LINES_AT_ONCE, ge=1, le=LINES_AT_ONCE)


def frame_request(values: Mapping[str, object] | str | bytes) -> FrameRequest:
    """Checks a request for a frame, from a query or from JSON.

    Raises:
        KarnError: If a value is missing, unknown or out of range.
    """
    return _checked(FrameRequest, values)


def compared_runs(items: Iterable[tuple[str, str]]) -> list[str]:
    """Checks a request for a comparison; returns the ids of its runs in their order.

    Args:
        items: Names and values of the query: a value of ``r`` for each run.

    Raises:
        KarnError: If a run is named twice, or the query says anything else.
    """
    runs: list[str] = []
    for name, value in items:
        if name != "r":
            raise KarnError(f"'{name}' is unknown here; name runs with r=RUN")
        if value in runs:
            raise KarnError(f"run '{value}' is named twice")
        runs.append(value)
    return runs


def events_request(values: Mapping[str, object]) -> EventsRequest:
    """Checks a request for events.

    Raises:
        KarnError: If a value is unknown or out of range.
    """
    return _checked(EventsRequest, values)


def log_request(values: Mapping[str, object]) -> LogRequest:
    """Checks a request for lines of the log.

    Raises:
        KarnError: If a value is unknown or out of range.
    """
    return _checked(LogRequest, values)


def _checked(kind: type[Request], values: Mapping[str, object] | str | bytes) -> Request:
    try:
        if isinstance(values, str | bytes):
            return kind.model_validate_json(values)
        return kind.model_validate(values)
    except ValidationError as error:
        raise KarnError(first_problem(error)) from None
