"""Checkpoint files: safetensors with a JSON manifest and a checksum in the header.

One file, because a file is replaced atomically. Its tensors are in the safetensors format, and
all else is JSON in the metadata of that format, so reading a file never runs code from it, and
any safetensors reader opens it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from esper_leyline import (
    CheckpointManifest,
    EsperError,
    LeylineError,
    open_regular,
    write_atomically,
)
from esper_leyline.checkpoint import CHECKPOINT_VERSION
from esper_leyline.config.overrides import explain_invalid
from esper_leyline.files.json_files import parse_json
from esper_leyline.files.paths import os_reason
from esper_train.checkpoints.contents import check_state
from esper_train.checkpoints.trees import join_tensors, split_tensors
from esper_train.errors import TrainError

SUFFIX = ".safetensors"
"""Of the checkpoints in a run directory; ``--save`` may name any file."""

MOST_BYTES = 2**32
"""Largest checkpoint that is read; one of the default policy has less than 1 MB."""

MOST_HEADER_BYTES = 100_000_000
"""Longest header that the safetensors library reads."""

_LENGTH_BYTES = 8
_ZIP_START = b"PK"
_NO_DIGEST = "0" * 2 * hashlib.sha256().digest_size
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_PARTS = frozenset({"manifest", "state", "sha256"})


class DamagedError(TrainError):
    """A checkpoint file is not what was written."""


def save_checkpoint(path: Path, manifest: CheckpointManifest, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint whole or not at all.

    Raises:
        TrainError: If the file cannot be written.
    """
    tree, tensors = split_tensors(state)
    content = pack(manifest.model_dump_json(), json.dumps(tree), tensors)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise TrainError(
            f"cannot write checkpoint '{path}': {os_reason(error)}; choose a writable place"
        ) from None


def copy_checkpoint(path: Path, target: Path) -> None:
    """Copies a checkpoint to ``--save``, whole or not at all.

    Raises:
        TrainError: If it cannot be written; names the one that is there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, path.read_bytes())
    except OSError as error:
        raise TrainError(
            f"cannot write --save {target}: {os_reason(error)}; the same checkpoint is '{path}'"
        ) from None


def file_version(path: Path) -> tuple[int, int] | None:
    """Returns a value that changes when the file is replaced; ``None`` without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def load_checkpoint(path: Path) -> tuple[CheckpointManifest, dict[str, Any]]:
    """Reads and checks a checkpoint, tensors on the CPU; runs no code from the file.

    Raises:
        DamagedError: If the file is not what was written.
        TrainError: If the file is missing, of another version, or lacks anything
            that a run needs to continue from it.
    """
    try:
        manifest, state, tensors = _unpack(_read(path))
        return check_state(_manifest(manifest), join_tensors(_state(state), tensors))
    except DamagedError as error:
        raise DamagedError(f"checkpoint '{path}' {error}") from None
    except (EsperError, LeylineError) as error:
        raise TrainError(f"checkpoint '{path}' {error}") from None


def pack(manifest: str, state: str, tensors: Mapping[str, Tensor]) -> bytes:
    """Returns a checkpoint's bytes.

    Args:
        manifest: JSON.
        state: JSON of the state, with names in place of tensors.
        tensors: By name.
    """
    metadata = {"manifest": manifest, "state": state, "sha256": _NO_DIGEST}
    content = bytearray(save_tensors(dict(tensors), metadata))
    start, end = _digest_place(content)
    content[start:end] = _checksum(content, start, end)
    return bytes(content)


def _checksum(content: bytes | bytearray, start: int, end: int) -> bytes:
    """Returns the checksum of a file, in which its own digits count as zeros."""
    view = memoryview(content)
    sha256 = hashlib.sha256(view[:start])
    sha256.update(_NO_DIGEST.encode())
    sha256.update(view[end:])
    return sha256.hexdigest().encode()


def _digest_place(content: bytes | bytearray) -> tuple[int, int]:
    """Returns where the digits of the checksum are.

    Raises:
        TrainError: If there is none.
    """
    # Quotes inside a JSON string have a backslash, so this is not found in manifest or state.
    found = _DIGEST.search(content, _LENGTH_BYTES, _header_end(content))
    if found is None:
        raise DamagedError("has no checksum, so it is not a checkpoint of esper-train, or damaged")
    return found.span(1)


def _header_end(content: bytes | bytearray) -> int:
    return _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            _check_start(file)
            return file.read()
    except OSError as error:
        raise TrainError(f"cannot be read: {os_reason(error)}") from None


def _check_start(file: BinaryIO) -> None:
    """Checks size and start of a file before all of it is read."""
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise TrainError(f"has more than {MOST_BYTES:,} bytes")
    file.seek(0)
    start = file.read(_LENGTH_BYTES + 1)
    file.seek(0)
    if start.startswith(_ZIP_START):
        raise TrainError(
            "is a file of torch.save, which esper-train wrote before checkpoint version "
            f"{CHECKPOINT_VERSION} and never loads, because it may hold code; use the "
            "esper-train that wrote it, or train again"
        )
    if len(start) <= _LENGTH_BYTES or start[_LENGTH_BYTES:] != b"{":
        raise DamagedError("is not a checkpoint of esper-train")
    length = _header_end(start) - _LENGTH_BYTES
    if length > MOST_HEADER_BYTES:
        raise DamagedError("is not a checkpoint of esper-train")
    if _LENGTH_BYTES + length > size:
        raise DamagedError("is damaged: it ends early; use another checkpoint of the run")


def _unpack(content: bytes) -> tuple[str, str, dict[str, Tensor]]:
    """Returns manifest, state and tensors of a file whose checksum is right."""
    start, end = _digest_place(content)
    if content[start:end] != _checksum(content, start, end):
        raise DamagedError("is damaged: its checksum differs; use another checkpoint of the run")
    try:
        tensors = load_tensors(content)
        header = content[_LENGTH_BYTES : _header_end(content)].decode()
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, OverflowError):
        raise TrainError("is not a checkpoint of esper-train") from None
    metadata = parse_json(header, MOST_HEADER_BYTES).get("__metadata__")
    if not isinstance(metadata, dict) or set(metadata) != _PARTS:
        raise TrainError("is not a checkpoint of esper-train")
    return metadata["manifest"], metadata["state"], tensors


def _state(text: str) -> Any:
    try:
        return parse_json(text, MOST_HEADER_BYTES)
    except LeylineError as error:
        raise TrainError(f"cannot be used: its state {error}") from None


def _manifest(text: str) -> CheckpointManifest:
    """Reads a manifest; checks the version first, as other versions have other fields."""
    content = parse_json(text)
    version = content.get("checkpoint_version") if isinstance(content, dict) else None
    if version != CHECKPOINT_VERSION:
        raise TrainError(
            f"has version {version}; this esper-train reads version {CHECKPOINT_VERSION}"
        )
    try:
        return CheckpointManifest.model_validate_json(text)
    except ValidationError as error:
        raise TrainError(f"cannot be used: its manifest: {explain_invalid(error)}") from None
