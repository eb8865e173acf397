"""Checkpoints: one file that holds a manifest and the tensors it describes."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import ValidationError

from esper_leyline import CHECKPOINT_VERSION, CheckpointManifest
from esper_train.errors import TrainError


def save_checkpoint(path: Path, manifest: CheckpointManifest, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint whole or not at all.

    Raises:
        TrainError: If the file cannot be written.
    """
    # In memory first: torch's own writer hides the reason when a disk is full.
    content = io.BytesIO()
    torch.save({"manifest": manifest.model_dump_json(), "state": dict(state)}, content)
    content.seek(0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise TrainError(
            f"cannot write checkpoint '{path}': {error.strerror}; choose a writable place"
        ) from None


def copy_checkpoint(path: Path, target: Path) -> None:
    """Copies a checkpoint to where ``--save`` wants it, whole or not at all.

    Raises:
        TrainError: If it cannot be written; names the one that is there.
    """
    try:
        with path.open("rb") as content:
            _replace(target, content)
    except OSError as error:
        raise TrainError(
            f"cannot write --save {target}: {error.strerror}; the same checkpoint is '{path}'"
        ) from None


def load_checkpoint(path: Path) -> tuple[CheckpointManifest, dict[str, Any]]:
    """Reads a checkpoint, tensors on the CPU; runs no code from the file.

    Raises:
        TrainError: If the file is missing, is no checkpoint, or is of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        manifest = CheckpointManifest.model_validate_json(content["manifest"])
        state = content["state"]
    except OSError as error:
        raise TrainError(f"cannot read checkpoint '{path}': {error.strerror}") from None
    except (
        RuntimeError,
        pickle.UnpicklingError,
        KeyError,
        TypeError,
        EOFError,
        ValueError,
    ) as error:
        if isinstance(error, ValidationError):
            reason = error.errors()[0]["msg"]
            raise TrainError(f"checkpoint '{path}' has an unusable manifest: {reason}") from None
        raise TrainError(f"'{path}' is not a checkpoint of esper-train") from None
    if manifest.checkpoint_version != CHECKPOINT_VERSION:
        raise TrainError(
            f"checkpoint '{path}' has version {manifest.checkpoint_version}; "
            f"this esper-train reads version {CHECKPOINT_VERSION}"
        )
    return manifest, state


def _replace(path: Path, content: BinaryIO) -> None:
    """Writes a file whole or not at all; half of one is removed."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
