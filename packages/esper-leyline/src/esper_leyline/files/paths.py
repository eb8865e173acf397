"""Paths that users name: files are opened without waiting, and what is no file is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from esper_leyline.errors import LeylineError

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading, and never waits.

    Raises:
        OSError: If it cannot be opened.
        LeylineError: If it is a folder, a named pipe, a device or a socket.
    """
    _check_file(path.stat().st_mode)
    # Without O_NONBLOCK, opening a named pipe that has come in the meantime waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_file(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int) -> bytes:
    """Returns the content of a regular file of at most ``limit`` bytes, and never waits.

    Raises:
        OSError: If it cannot be read.
        LeylineError: If it is not a regular file, or is larger.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise LeylineError(f"has more than {limit:,} bytes")
    return content


def os_reason(error: OSError) -> str:
    """Returns the message of the operating system, without its error number."""
    return error.strerror or str(error)


def check_file(path: Path) -> bool:
    """Checks that a path is a regular file or free.

    Returns:
        Whether there is a file.

    Raises:
        OSError: If it cannot be looked at.
        LeylineError: If it is a folder, a named pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    _check_file(mode)
    return True


def check_folder(path: Path) -> bool:
    """Checks that a path is a folder or free.

    Returns:
        Whether there is a folder.

    Raises:
        OSError: If it cannot be looked at.
        LeylineError: If it is something else, also a link to nothing.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise LeylineError("is a link to nothing; name a folder") from None
        return False
    if not stat.S_ISDIR(mode):
        raise LeylineError(f"is {_kind(mode)}; name a folder")
    return True


def check_file_of(flag: str, path: Path) -> bool:
    """Checks that a flag names a regular file, or nothing yet.

    Returns:
        Whether there is a file.

    Raises:
        LeylineError: If it names something else; the message names the flag and the path.
    """
    with name_flag(flag, path):
        return check_file(path)


def check_folder_of(flag: str, path: Path) -> bool:
    """Checks that a flag names a folder, or nothing yet.

    Returns:
        Whether there is a folder.

    Raises:
        LeylineError: If it names something else; the message names the flag and the path.
    """
    with name_flag(flag, path):
        return check_folder(path)


@contextmanager
def name_flag(flag: str, path: Path) -> Iterator[None]:
    """Names a flag and its path in what the block raises about the path.

    Raises:
        LeylineError: In place of an ``OSError`` or a ``LeylineError`` of the block.
    """
    try:
        yield
    except OSError as error:
        raise LeylineError(f"{flag} {path} cannot be used: {error.strerror}") from None
    except LeylineError as error:
        raise LeylineError(f"{flag} {path} {error}") from None


def working_directory() -> str | None:
    """Returns the working directory; ``None`` if it was removed, or its name is not UTF-8."""
    try:
        folder = str(Path.cwd())
        folder.encode()
    except (FileNotFoundError, UnicodeEncodeError):
        return None
    return folder


def create_folders(path: Path) -> tuple[Path, ...]:
    """Creates a folder where it is missing, with its parents.

    Returns:
        The folders that were created, the innermost first.

    Raises:
        OSError: If one cannot be created; then none is left.
        LeylineError: If the path is something other than a folder.
    """
    check_folder(path)
    missing = tuple(each for each in (path, *path.parents) if not each.exists())
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes those folders that are there and empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _check_file(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise LeylineError(f"is {_kind(mode)}; name a regular file")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a special file")
