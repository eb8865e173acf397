"""Checkpoint files: a manifest, the tensors it describes, and a checksum."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import ValidationError

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
from esper_train.checkpoints.contents import check_state
from esper_train.errors import TrainError

MOST_BYTES = 2**32
"""Largest checkpoint that is read; one of the default policy has about 2 MB."""

_START = b"PK"
_LABEL = b"sha256:"
_SEAL_BYTES = len(_LABEL) + 2 * hashlib.sha256().digest_size


def save_checkpoint(path: Path, manifest: CheckpointManifest, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint whole or not at all.

    Raises:
        TrainError: If the file cannot be written.
    """
    # In memory first: torch's own writer hides the reason when a disk is full.
    content = io.BytesIO()
    torch.save({"manifest": manifest.model_dump_json(), "state": dict(state)}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, seal(content.getvalue()))
    except OSError as error:
        raise TrainError(
            f"cannot write checkpoint '{path}': {error.strerror}; choose a writable place"
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
            f"cannot write --save {target}: {error.strerror}; the same checkpoint is '{path}'"
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
        TrainError: If the file is missing, damaged, of another version, or lacks anything
            that a run needs to continue from it.
    """
    try:
        content = _unpickle(_unseal(_read(path)))
        manifest = _manifest(content["manifest"])
        return check_state(manifest, content["state"])
    except (EsperError, LeylineError) as error:
        raise TrainError(f"checkpoint '{path}' {error}") from None


def seal(archive: bytes) -> bytes:
    """Adds a checksum to a ZIP archive without a comment, as its comment.

    ``torch.load`` reads the archive as before. The checksum covers every byte before it.
    """
    # The last two bytes of an archive without a comment are the comment's length, 0.
    assert archive.endswith(b"\0\0"), "torch writes archives without comments"
    covered = archive[:-2] + _SEAL_BYTES.to_bytes(2, "little")
    return covered + _checksum(covered)


def _unseal(sealed: bytes) -> bytes:
    """Checks the checksum of an archive, and returns the archive.

    Raises:
        TrainError: If it is missing or wrong.
    """
    covered, found = sealed[:-_SEAL_BYTES], sealed[-_SEAL_BYTES:]
    if found != _checksum(covered):
        raise TrainError("is damaged: its checksum differs; use another checkpoint of the run")
    return sealed


def _checksum(covered: bytes) -> bytes:
    return _LABEL + hashlib.sha256(covered).hexdigest().encode()


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            _check_ends(file)
            return file.read()
    except OSError as error:
        raise TrainError(f"cannot be read: {error.strerror}") from None


def _check_ends(file: BinaryIO) -> None:
    """Checks the start and end of a file before all of it is read."""
    size = file.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise TrainError(f"has more than {MOST_BYTES:,} bytes")
    file.seek(max(0, size - _SEAL_BYTES))
    end = file.read(_SEAL_BYTES)
    file.seek(0)
    start = file.read(len(_START))
    file.seek(0)
    if start != _START:
        raise TrainError("is not a checkpoint of esper-train")
    if not end.startswith(_LABEL):
        raise TrainError(
            "has no checksum: it is damaged, or of a version of esper-train before checkpoint "
            f"version {CHECKPOINT_VERSION}"
        )


def _unpickle(archive: bytes) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # Torch warns about sparse tensors, which are refused later.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise TrainError(
            "holds objects other than tensors, numbers, texts, lists and dicts, which are never "
            "loaded"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        raise TrainError("is not a checkpoint of esper-train") from None
    if not isinstance(content, dict) or set(content) != {"manifest", "state"}:
        raise TrainError("is not a checkpoint of esper-train")
    return content


def _manifest(text: Any) -> CheckpointManifest:
    """Reads a manifest; checks the version first, as other versions have other fields."""
    if not isinstance(text, str):
        raise TrainError("cannot be used: its manifest is not a text")
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
