"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file so that a reader, a crash or a kill finds the old content or the new one.

    The new content is on the disk before it gets its name. On Linux it has no name in the folder
    until it is complete, so a killed process leaves no part of it behind.

    Args:
        path: The file; its folder exists.
        content: All of the new content.

    Raises:
        OSError: If it cannot be written; the old file is as it was, and nothing else is left.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        if not _write_unnamed(partial, content):
            with partial.open("wb") as file:
                _write(file.fileno(), content)
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _write_unnamed(path: Path, content: bytes) -> bool:
    """Writes a file that gets its name when it is complete (``open(2)``, ``O_TMPFILE``).

    Returns:
        Whether the system can do that; if not, nothing was done.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
            descriptor = os.open(".", flags, 0o666, dir_fd=folder)
        except OSError:
            return False  # a file system without it; any other fault shows in the usual way
        try:
            _write(descriptor, content)
            path.unlink(missing_ok=True)
            # With a folder's descriptor Python calls linkat, which follows the link in /proc.
            source = f"/proc/self/fd/{descriptor}"
            try:
                os.link(source, path.name, dst_dir_fd=folder, follow_symlinks=True)
            except OSError:
                return False  # no /proc
        finally:
            os.close(descriptor)
    finally:
        os.close(folder)
    return True


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
