"""Files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_ENDING = ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file so that a reader, a crash or a kill finds the old content or the new one.

    The new content is on the disk before it gets its name. On Linux it has no name in the folder
    until it is complete, so a killed process leaves no part of it behind. Where the system cannot
    do that, the next write to the same path removes the part. Several processes may write to one
    path: the last one to finish is kept.

    Args:
        path: The file; its folder exists.
        content: All of the new content.

    Raises:
        OSError: If it cannot be written; the old file is as it was, and nothing else is left.
    """
    _remove_abandoned(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_ENDING}")
    descriptor = _open_unnamed(path.parent)
    try:
        if descriptor is not None:
            _write(descriptor, content)
            if not _name(descriptor, partial):
                os.close(descriptor)
                descriptor = None
        if descriptor is None:
            descriptor = _open_named(partial)
            _write(descriptor, content)
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_unnamed(folder: Path) -> int | None:
    """Opens a new file without a name (``open(2)``, ``O_TMPFILE``), locked.

    Returns:
        Its descriptor; ``None`` if the system cannot do that.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError:
        return None  # a file system without it; any other fault shows in the usual way
    _lock(descriptor)
    return descriptor


def _name(descriptor: int, path: Path) -> bool:
    """Gives a file without a name its name; returns whether the system can do that."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # With a folder's descriptor Python calls linkat, which follows the link in /proc.
        source = f"/proc/self/fd/{descriptor}"
        os.link(source, path.name, dst_dir_fd=folder, follow_symlinks=True)
    except OSError:
        return False  # no /proc
    finally:
        os.close(folder)
    return True


def _open_named(path: Path) -> int:
    """Opens a new file, locked."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        _lock(descriptor)
        # Before it was locked, another process may have taken it for abandoned.
        if os.fstat(descriptor).st_nlink > 0:
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Marks a file as one that a living process writes; the lock ends with the process."""
    with suppress(OSError):  # a file system without locks, where nothing is removed either
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _remove_abandoned(path: Path) -> None:
    """Removes the parts of a file whose writers were killed, and none that is being written."""
    for part in _parts(path):
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(descriptor)


def _parts(path: Path) -> list[Path]:
    part = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(_ENDING)}")
    with suppress(OSError), os.scandir(path.parent) as entries:
        return [path.with_name(each.name) for each in entries if part.fullmatch(each.name)]
    return []


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
