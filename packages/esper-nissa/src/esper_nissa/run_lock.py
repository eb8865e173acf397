"""The lock that the trainer of a run holds for as long as it lives."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from esper_leyline.files.paths import os_reason
from esper_leyline.run_files import LOCK_FILE
from esper_leyline.run_lock import owner_here, probe_lock
from esper_nissa.errors import NissaError

PATIENCE = 1.0
"""Seconds for which a held lock is tried again: a reader may hold it for an instant."""

RETRY_INTERVAL = 0.02
"""Seconds between two tries."""

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
"""Errors of file systems that have no locks."""


class RunLock:
    """Holds ``run.lock`` of a run directory until ``release`` or the end of the process.

    Attributes:
        locked: Whether the file system has locks. Without them a second trainer is not noticed,
            and readers cannot tell a crash from a pause.

    Used as a context manager, it is released at the end.

    Args:
        run: The run directory.
        command: The command that trains it.
        group: The comparison that the run is an arm of.

    Raises:
        NissaError: If another process trains the run, or the file cannot be written.
    """

    def __init__(self, run: Path, command: str, *, group: str | None = None) -> None:
        self._path = run / LOCK_FILE
        try:
            # Children do not inherit it (PEP 446), so it ends with this process.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise self._failure(error) from None
        try:
            self.locked = self._acquire(run)
            self._write(owner_here(command, locked=self.locked, group=group).model_dump_json())
        except OSError as error:
            self.release()
            raise self._failure(error) from None
        except NissaError:
            self.release()
            raise

    def release(self) -> None:
        """Releases the lock; further calls do nothing. The file stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _acquire(self, run: Path) -> bool:
        """Locks the file; returns false where the file system has no locks."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NissaError(_refusal(run)) from None
                time.sleep(RETRY_INTERVAL)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    return False
                raise
            else:
                return True

    def _write(self, text: str) -> None:
        content = f"{text}\n".encode()
        # Overwritten before it is shortened: that takes no new space on a full disk.
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def _failure(self, error: OSError) -> NissaError:
        return NissaError(
            f"cannot write '{self._path}': {os_reason(error)}; free space or choose another folder"
        )


def _refusal(run: Path) -> str:
    owner = probe_lock(run).owner
    who = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
    return f"run '{run}' is being trained by {who}; wait until that ends, or stop it"
