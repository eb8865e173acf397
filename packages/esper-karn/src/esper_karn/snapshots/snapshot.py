"""A run's state at one of its events, as a file: a line of JSON, then compressed JSON."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

import esper_leyline
from esper_karn import state as state_package
from esper_karn.log.mark import LogMark
from esper_karn.log.reader import ReadPosition
from esper_karn.state.run import RunState
from esper_leyline.wire import Contract

LARGEST_STATE = 32 << 20
"""Largest state that is read, in bytes of JSON; one of 200,000 events takes less than 1 MB."""


class SnapshotHeader(Contract):
    """What a snapshot is of.

    Attributes:
        code: Digest of the code that folded the state.
        mark: The log, and how far it was read.
        line: Complete lines that were read.
        sequence: Sequence number of the latest event.
        digest: SHA-256 of the compressed state.
    """

    code: str
    mark: LogMark
    line: int
    sequence: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run's state, and where its log goes on.

    Attributes:
        mark: The log, and how far it was read.
        line: Complete lines that were read.
    """

    state: RunState
    mark: LogMark
    line: int

    @property
    def position(self) -> ReadPosition:
        """Where the next line begins."""
        return ReadPosition(offset=self.mark.offset, line=self.line)


@cache
def code_digest() -> str:
    """Returns a digest of the code that a state depends on: the reducer, and the events."""
    found = hashlib.sha256()
    for package in (state_package, esper_leyline):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Returns a snapshot as the content of a file."""
    body = zlib.compress(_adapter().dump_json(snapshot.state), 1)
    header = SnapshotHeader(
        code=code_digest(),
        mark=snapshot.mark,
        line=snapshot.line,
        sequence=snapshot.state.cursor.sequence,
        digest=hashlib.sha256(body).hexdigest(),
    )
    return header.model_dump_json().encode() + b"\n" + body


def decode_header(content: bytes) -> SnapshotHeader | None:
    """Returns the header of a snapshot.

    Args:
        content: The file, or its start.

    Returns:
        The header; ``None`` if it is damaged or was written by other code.
    """
    try:
        header = SnapshotHeader.model_validate_json(content.partition(b"\n")[0])
    except ValidationError:
        return None
    return header if header.code == code_digest() else None


def decode_snapshot(content: bytes) -> Snapshot | None:
    """Returns a snapshot from the content of its file; no code in it is run.

    Returns:
        The snapshot; ``None`` if the file is damaged or was written by other code.
    """
    header, body = decode_header(content), content.partition(b"\n")[2]
    if header is None or hashlib.sha256(body).hexdigest() != header.digest:
        return None
    try:
        text = zlib.decompressobj().decompress(body, LARGEST_STATE)
        state = _adapter().validate_json(text)
    except (zlib.error, ValidationError):
        return None
    return Snapshot(state=state, mark=header.mark, line=header.line)


@cache
def _adapter() -> TypeAdapter[RunState]:
    return TypeAdapter(RunState)
