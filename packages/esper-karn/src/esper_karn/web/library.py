"""The runs that a server shows, found by their ids."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from esper_karn.errors import KarnError
from esper_karn.runs.folder import is_run_directory
from esper_leyline.files.paths import os_reason

LISTED_FOR = 1.0
"""Seconds for which the names in a folder are kept."""


class Library:
    """The runs of one folder, or a single run.

    An id comes from a browser: it is looked up among the names that the folder has, and never
    made into a path.

    Args:
        root: A folder of runs, or one run's directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._found: Mapping[str, Path] = {}
        self._until = 0.0

    def runs(self) -> Mapping[str, Path]:
        """Returns the directory of each run by its id.

        Raises:
            KarnError: If the folder cannot be read.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self._found = self._list()
                self._until = now + LISTED_FOR
            return self._found

    def find(self, run_id: str) -> Path:
        """Returns the directory of a run.

        Raises:
            KarnError: If there is no run of this id, or the folder cannot be read.
        """
        found = self.runs().get(run_id)
        if found is None:
            raise KarnError(f"there is no run '{run_id}' in '{self.root}'")
        return found

    def _list(self) -> dict[str, Path]:
        if is_run_directory(self.root):
            return {self.root.resolve().name: self.root}
        try:
            with os.scandir(self.root) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return {}  # A run that is starting makes it.
        except OSError as error:
            raise KarnError(f"cannot read '{self.root}': {os_reason(error)}") from error
        paths = {name: self.root / name for name in sorted(names)}
        return {name: path for name, path in paths.items() if is_run_directory(path)}
