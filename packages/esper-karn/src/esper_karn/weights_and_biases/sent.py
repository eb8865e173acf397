"""How far a run was written offline by readers that ended: the next one continues there."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from esper_karn.errors import KarnError
from esper_leyline import LeylineError, write_atomically
from esper_leyline.files.json_files import read_json
from esper_leyline.files.paths import os_reason

SENT_FILE = "sent.json"
_SENT = TypeAdapter(dict[str, int])


class SentFile:
    """The sequence number of the last event that was written, by the path of the W&B run.

    Args:
        folder: The folder of the library's files.
        run_path: Entity, project and id.

    Raises:
        KarnError: If there is a file that cannot be read.
    """

    def __init__(self, folder: Path, run_path: str) -> None:
        self._path = folder / SENT_FILE
        self._run_path = run_path
        self._known = self._read()

    @property
    def sequence(self) -> int:
        """Sequence number of the last event; -1 if nothing was written."""
        return self._known.get(self._run_path, -1)

    def write(self, sequence: int) -> None:
        """Writes a new number.

        Raises:
            KarnError: If the file cannot be written.
        """
        if sequence == self.sequence:
            return
        self._known[self._run_path] = sequence
        try:
            write_atomically(self._path, _SENT.dump_json(self._known))
        except OSError as error:
            raise KarnError(f"cannot write '{self._path}': {os_reason(error)}") from error

    def _read(self) -> dict[str, int]:
        if not self._path.exists():
            return {}
        try:
            return _SENT.validate_python(read_json(self._path), strict=True)
        except ValidationError:
            reason = "does not hold a number for each run"
        except LeylineError as error:
            reason = str(error)
        raise KarnError(f"'{self._path}' {reason}; remove it to send the run from its start")
