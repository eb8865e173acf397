"""The run directory: the folder of one run."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from esper_leyline import LeylineError, RunSummary, TrainingConfig, write_atomically
from esper_leyline.files.paths import check_file, create_folders, os_reason, remove_empty
from esper_leyline.run_files import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    LOG_FILE,
    POINTER_FILE,
    SUMMARY_FILE,
    locate_log,
)
from esper_nissa.errors import NissaError
from esper_nissa.run_lock import RunLock

_TASK_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDirectory:
    """One run's folder, ``<timestamp>-<task>-<id>``: config, log, checkpoints, summary.

    The log is ``events.jsonl`` in the folder, unless it was redirected: then ``events.path``
    holds its absolute path on one line.

    Attributes:
        path: The folder.
        events: The event log.
    """

    path: Path
    events: Path

    @classmethod
    def create(
        cls,
        root: Path,
        task: str,
        *,
        telemetry_file: Path | None = None,
        telemetry_dir: Path | None = None,
    ) -> RunDirectory:
        """Creates a new run's folder, with its checkpoint folder and an empty log.

        Args:
            root: The folder of all runs; created if missing.
            task: Name of the task, part of the folder's name.
            telemetry_file: Log to exactly this file, which must be empty or missing.
            telemetry_dir: Log to ``<run id>/events.jsonl`` under this folder.

        Raises:
            NissaError: If something cannot be created; names the path and the reason.
        """
        if not _TASK_NAME.fullmatch(task):
            raise NissaError(
                f"task name '{task}' cannot be part of a folder's name; "
                "use letters, digits, '.', '_' and '-'"
            )
        if telemetry_file is not None and telemetry_dir is not None:
            raise NissaError(
                f"telemetry file '{telemetry_file}' and telemetry folder '{telemetry_dir}' "
                "both say where the log goes; give one of them"
            )
        with _creating_in(root):
            created = create_folders(root)
        path = _create_run_folder(root, task)
        log = _elsewhere(path.name, telemetry_file, telemetry_dir)
        if log is None:
            log = path / LOG_FILE
        try:
            _create_log(log)
            directory = cls(path=path, events=log)
            if not directory._pointed_at():
                directory._write_pointer()
        except NissaError:
            _remove_new_folder(path)
            remove_empty(created)
            raise
        return directory

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Opens an existing run's folder.

        A link, ``.`` and ``..`` are followed, because the run's id is its folder's name.

        Raises:
            NissaError: If it is not one.
        """
        if path.name in {"", ".."} or path.is_symlink():
            path = path.resolve()
        if not (path / CONFIG_FILE).is_file():
            raise NissaError(
                f"'{path}' is not a run directory: it holds no {CONFIG_FILE}; "
                "name a folder that esper-train made"
            )
        try:
            return cls(path=path, events=locate_log(path))
        except LeylineError as error:
            raise NissaError(str(error)) from error

    @property
    def run_id(self) -> str:
        """The run's id: the folder's name."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.path / CHECKPOINT_FOLDER

    @property
    def config(self) -> Path:
        """The resolved configuration, which ``--config-json`` takes again."""
        return self.path / CONFIG_FILE

    @property
    def summary(self) -> Path:
        """How the run ended; missing while it runs and after a crash."""
        return self.path / SUMMARY_FILE

    def lock(self, command: str, *, group: str | None = None) -> RunLock:
        """Locks the run, so that no other process trains it and readers notice a crash.

        Args:
            command: The command that trains it, such as ``ppo``.
            group: The comparison that it is an arm of.

        Raises:
            NissaError: If another process trains it, or the lock file cannot be written.
        """
        return RunLock(self.path, command, group=group)

    def discard(self) -> None:
        """Removes the folder of a run that has not started."""
        shutil.rmtree(self.path, ignore_errors=True)

    def restore(self, config: TrainingConfig) -> tuple[str, ...]:
        """Creates missing parts again: the folder, its config, and ``events.path``.

        Returns:
            Names of the files that were missing.

        Raises:
            NissaError: If something cannot be created.
        """
        with _creating_in(self.path.parent):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        missing = []
        if not self.config.exists():
            self.write_config(config)
            missing.append(CONFIG_FILE)
        if not self._pointed_at():
            self._write_pointer()
            missing.append(POINTER_FILE)
        return tuple(missing)

    def _pointed_at(self) -> bool:
        """Whether a reader of the folder can find the log."""
        inside = self.events == self.path / LOG_FILE
        return inside or (self.path / POINTER_FILE).exists()

    def _write_pointer(self) -> None:
        replace_file(self.path / POINTER_FILE, f"{self.events}\n")

    def write_config(self, config: TrainingConfig) -> None:
        """Writes ``config.json`` atomically.

        Raises:
            NissaError: If it cannot be written.
        """
        replace_file(self.config, config.model_dump_json(indent=2) + "\n")

    def write_summary(self, summary: RunSummary) -> None:
        """Writes ``summary.json`` atomically.

        Raises:
            NissaError: If it cannot be written.
        """
        replace_file(self.summary, summary.model_dump_json(indent=2) + "\n")


def create_folder(root: Path, name: str) -> Path:
    """Creates a new folder ``<timestamp>-<name>-<id>``, and ``root`` if missing.

    Raises:
        NissaError: If it cannot be created; names ``root`` and the reason.
    """
    with _creating_in(root):
        create_folders(root)
        while True:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            path = root / f"{stamp}-{name}-{secrets.token_hex(4)}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path


def replace_file(path: Path, text: str) -> None:
    """Writes a file atomically.

    Raises:
        NissaError: If it cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise NissaError(
            f"cannot write '{path}': {os_reason(error)}; free space or choose a writable folder"
        ) from error


def _create_run_folder(root: Path, task: str) -> Path:
    path = create_folder(root, task)
    with _creating_in(root):
        (path / CHECKPOINT_FOLDER).mkdir()
    return path


@contextmanager
def _creating_in(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NissaError(
            f"cannot create a folder in '{root}': {os_reason(error)}; "
            "choose one that can be written"
        ) from error
    except LeylineError as error:
        raise NissaError(f"cannot create a folder in '{root}', which {error}") from None


def _elsewhere(run_id: str, telemetry_file: Path | None, telemetry_dir: Path | None) -> Path | None:
    """Returns the absolute path of a redirected log; ``None`` for a log in its run directory."""
    if telemetry_file is not None:
        return telemetry_file.absolute()
    if telemetry_dir is not None:
        return telemetry_dir.absolute() / run_id / LOG_FILE
    return None


def _create_log(log: Path) -> None:
    try:
        create_folders(log.parent)
        # Opening a named pipe would block until it has a reader.
        check_file(log)
        with log.open("ab"):
            used = log.stat().st_size > 0
    except OSError as error:
        raise NissaError(
            f"cannot create event log '{log}': {os_reason(error)}; "
            "name a file in a folder that can be written"
        ) from error
    except LeylineError as error:
        raise NissaError(f"event log '{log}' {error}") from None
    if used:
        raise NissaError(
            f"telemetry file '{log}' already holds something; name a new file or remove it"
        )


def _remove_new_folder(path: Path) -> None:
    """Removes a run folder that is still empty."""
    for part in (path / POINTER_FILE, path / LOG_FILE):
        part.unlink(missing_ok=True)
    (path / CHECKPOINT_FOLDER).rmdir()
    path.rmdir()
