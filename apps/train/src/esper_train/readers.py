"""The programs that read a run while it trains: the page, the console view, Weights & Biases.

Each is a process of its own; if it fails or is killed, training continues.
"""

from __future__ import annotations

from pathlib import Path

from esper_karn import echo
from esper_karn.terminal.device import why_no_terminal
from esper_leyline import TrainingConfig
from esper_leyline.events import kinds_written
from esper_leyline.extras import require_extra
from esper_train.errors import TrainError
from esper_train.interrupts import StopRequest
from esper_train.pages import Pages, check_pages
from esper_train.settings.options import TelemetryOptions
from esper_train.viewer import Viewer
from esper_train.wandb_reader import WandbReader, check_wandb


def check_readers(telemetry: TelemetryOptions, config: TrainingConfig) -> None:
    """Checks the flags of the page and of Weights & Biases before anything is created.

    Raises:
        EsperError: If they cannot be used.
    """
    check_wandb(telemetry, config)
    check_pages(telemetry, config)
    check_sanctum(telemetry, config)


def check_sanctum(telemetry: TelemetryOptions, config: TrainingConfig) -> None:
    """Checks ``--sanctum`` before anything is created.

    Raises:
        EsperError: If other flags exclude it, there is nothing to show, or the library is
            missing.
    """
    if not telemetry.sanctum:
        return
    for flag in (*telemetry.pages, *(["--no-tui"] if telemetry.no_tui else [])):
        raise TrainError(
            f"--sanctum and {flag} exclude each other; leave one out, and look at the run with "
            "uv run esper-overwatch tui or web while it trains"
        )
    if not kinds_written(config.telemetry):
        raise TrainError(
            "--sanctum shows the telemetry of a run, and --telemetry-level off writes none; "
            "use minimal, normal or debug"
        )
    require_extra("--sanctum", ("textual",), extra="tui", distribution="esper-overwatch")


def check_terminal(telemetry: TelemetryOptions) -> None:
    """Checks that there is a terminal for ``--sanctum``.

    Raises:
        TrainError: If there is none.
    """
    if not telemetry.sanctum:
        return
    reason = why_no_terminal()
    if reason is not None:
        raise TrainError(f"--sanctum needs a terminal: {reason}; leave it out for plain lines")


class Readers:
    """The readers of one run that its flags ask for.

    It is made before the run begins, because it binds the ports of the page.

    Args:
        options: The flags.
        stop: Its signals are deferred while a reader starts.
        silent: Whether the log stays empty, so that there is nothing to show.

    Raises:
        EsperError: If a port is taken or not permitted, or Sanctum has no terminal.
    """

    def __init__(self, options: TelemetryOptions, stop: StopRequest, *, silent: bool) -> None:
        self._options = options
        self._stop = stop
        self._silent = silent
        check_terminal(options)
        self._pages = Pages(options)
        self._viewer: Viewer | None = None
        self._wandb: WandbReader | None = None

    def start(self, run: Path, *, since: int) -> None:
        """Starts them. From now on the console view prints, and this process does not.

        Args:
            run: The run's directory.
            since: Sequence number of the first event that the console view shows.
        """
        self._pages.start(run.parent, run.name)
        self._start_wandb(run)
        if self._silent:
            echo("telemetry is off: nothing is shown until the end")
            return
        with self._stop.defer_signals():
            self._viewer = Viewer.start(
                run,
                plain=self._options.no_tui,
                # The links of the page stay in sight.
                full_screen=not self._pages,
                sanctum=self._options.sanctum,
                since=since,
            )

    def end_viewer(self, *, log_ends: bool) -> None:
        """Ends the console view, so that this process prints again.

        Args:
            log_ends: Whether the log holds the run's last event, which the view waits for.
        """
        if self._viewer is None:
            return
        if not log_ends:
            self._viewer.end()
        elif self._viewer.finish() != 0:
            echo("the console view ended early; the run was not affected")

    def finish(self, run: Path) -> None:
        """Stops the servers of the page, and waits until the rest of the run is sent."""
        if self._pages:
            self._pages.close()
            echo(f"see it again with: uv run esper-overwatch web {run.parent}")
        if self._wandb is not None:
            self._wandb.finish()

    def abandon(self) -> None:
        """Closes the ports of the page, of a run that could not begin."""
        self._pages.close()

    def _start_wandb(self, run: Path) -> None:
        options = self._options.wandb_options
        if not self._options.wandb:
            return
        if not options.enabled:
            echo("wandb: disabled; nothing is sent")
            return
        echo(f"wandb: project {options.wandb_project}, {options.wandb_mode}")
        with self._stop.defer_signals():
            self._wandb = WandbReader.start(run, options)
