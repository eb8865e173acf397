"""A run at Weights & Biases. The only module that imports the library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import wandb

from esper_karn.errors import KarnError
from esper_karn.weights_and_biases.alerts import Alert
from esper_karn.weights_and_biases.options import WandbOptions
from esper_karn.weights_and_biases.rows import X_AXIS, Row

FINISH_SECONDS = 60.0
"""Seconds that the upload of the rest may take at a run's end."""

BEST = ("val_accuracy/mean", "rounds/mean_return", "rounds/mean_accuracy", "rounds/best_accuracy")
"""Metrics whose largest value is kept beside the last one."""

_NO_PAUSE = timedelta(milliseconds=1)
"""Between two alerts of one title, because ``AlertLimiter`` decides; 0 means a minute there."""


class WandbRun:
    """A run at Weights & Biases, created or continued.

    Args:
        options: Where it goes, and what goes with it.
        run_id: Its id, a continued run's own.
        name: How it is shown where the options do not name it.
        group: Its group where the options do not name one.
        folder: The library writes to ``wandb`` in this folder.
        process: The process whose CPU and memory are measured; ``None`` measures nothing.

    Raises:
        KarnError: If the library cannot begin: no login, no network, no room on the disk.
    """

    def __init__(
        self,
        options: WandbOptions,
        *,
        run_id: str,
        name: str,
        group: str | None,
        folder: Path,
        process: int | None,
    ) -> None:
        with _reported():
            self._run = wandb.init(
                project=options.wandb_project,
                entity=options.wandb_entity,
                tags=options.wandb_tags,
                group=options.wandb_group or group,
                name=options.wandb_name or name,
                id=run_id,
                resume="allow",
                mode=options.wandb_mode,
                dir=folder,
                settings=_settings(options, process),
            )
            self._run.define_metric(X_AXIS)
            self._run.define_metric("*", step_metric=X_AXIS)
            for each in BEST:
                self._run.define_metric(each, step_metric=X_AXIS, summary="last,max")

    @property
    def path(self) -> str:
        """Entity, project and id, with slashes between them."""
        run = self._run
        return "/".join((run.entity or "", run.project or "", run.id))

    @property
    def url(self) -> str | None:
        """Where it is shown; ``None`` offline."""
        return self._run.url

    @property
    def files(self) -> Path:
        """The folder of its files, which ``wandb sync`` takes."""
        return Path(self._run.settings.sync_dir)

    def offline_files(self) -> list[Path]:
        """Returns the folders of all its parts that were written offline and not uploaded yet.

        There is one for each time that the run was sent.
        """
        folders = sorted(self.files.parent.glob(f"offline-run-*-{self._run.id}"))
        return [each for each in folders if not any(each.glob("*.synced"))]

    @property
    def received(self) -> int:
        """Step of the last row that the server has of a continued run; -1 without one."""
        return self._run.starting_step - 1

    def log(self, row: Row) -> None:
        """Sends a row; its step is the sequence number of its last event."""
        with _reported():
            self._run.log({**row.values, "_timestamp": row.wall_time}, step=row.sequence)

    def log_table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Sends a table into the summary."""
        with _reported():
            table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
            self._run.summary[name] = table

    def alert(self, alert: Alert) -> None:
        """Sends an alert."""
        with _reported():
            self._run.alert(
                title=alert.title,
                text=alert.text,
                level="ERROR" if alert.severe else "WARN",
                wait_duration=_NO_PAUSE,
            )

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Sets keys of the configuration."""
        with _reported():
            self._run.config.update(dict(config), allow_val_change=True)

    def set_summary(self, values: Mapping[str, object]) -> None:
        """Sets keys of the summary."""
        with _reported():
            self._run.summary.update(dict(values))

    def finish(self, exit_code: int) -> bool:
        """Ends the run, in ``FINISH_SECONDS`` at most.

        Returns:
            Whether everything was uploaded, or offline written.
        """
        with _reported():
            try:
                self._run.finish(exit_code=exit_code)
            except TimeoutError:
                return False
        return True


def prepare_environment(folder: Path) -> None:
    """Sets what the library reads from the environment only; call it before the first run.

    Tables wait for their upload in ``wandb`` of the folder, not in the user's home, the library
    prints nothing by itself, and a server that cannot be reached is given up after half a minute.
    """
    os.environ.setdefault("WANDB_DATA_DIR", str(folder.absolute() / "wandb" / "data"))
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")


def _settings(options: WandbOptions, process: int | None) -> wandb.Settings:
    settings = wandb.Settings(
        console="off",
        silent=True,
        symlink=False,
        disable_git=options.wandb_no_code,
        disable_code=options.wandb_no_code,
        save_code=not options.wandb_no_code,
        disable_job_creation=True,
        x_disable_stats=process is None or options.wandb_no_system,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
    )
    if process is not None:
        settings.x_stats_pid = process
        settings.x_stats_track_process_tree = True
    return settings


@contextmanager
def _reported() -> Iterator[None]:
    """Turns whatever the library raises into an error of one line."""
    try:
        yield
    except KarnError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if "wandb login" in reason:
            reason += ", or write files with --wandb-mode offline"
        raise KarnError(f"wandb: {reason}") from error
