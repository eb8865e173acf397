"""The reader that sends a run to Weights & Biases, as a process of its own.

The trainer starts it and closes its standard input at the run's end. If the reader fails or is
killed, training continues.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from functools import partial
from pathlib import Path

from esper_karn import KarnError, echo, echo_error, guard_streams
from esper_karn.weights_and_biases.options import WandbOptions, check_options
from esper_leyline import TrainingConfig
from esper_train.arguments import ArgumentParser
from esper_train.errors import TrainError
from esper_train.interrupts import ignore_signals
from esper_train.settings.options import TelemetryOptions

QUIET_SECONDS = 3.0
"""Seconds that the reader may take at the run's end before the trainer says that it waits."""

ENDING_SECONDS = 80.0
"""Seconds that it may take in all: those of the upload, and some for its own exit."""

FAILED = 1


class WandbReader:
    """A running reader.

    Args:
        process: Its process.
        run: The run's directory.
    """

    def __init__(self, process: subprocess.Popen[str], run: Path) -> None:
        self._process = process
        self._run = run

    @classmethod
    def start(cls, run: Path, options: WandbOptions) -> WandbReader:
        """Starts a reader of this process's run."""
        command = [sys.executable, "-m", "esper_train.wandb_reader", str(run)]
        command += ["--parent", str(os.getpid()), "--options", options.model_dump_json()]
        # In its own process group: Ctrl-C does not reach it.
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
        )
        return cls(process, run)

    def finish(self) -> None:
        """Waits until the reader has sent the rest, and prints its lines."""
        output = self._output(QUIET_SECONDS)
        if output is None:
            echo("wandb: sending the rest")
            output = self._output(ENDING_SECONDS)
        if output is None:
            self._process.kill()
            # The library's own process may hang, and hold the pipe open.
            output = self._output(QUIET_SECONDS) or ""
        for line in output.splitlines():
            echo(line)
        if self._process.returncode != 0:
            echo(
                "wandb: not all of the run was sent, and the run itself was not affected; "
                f"send the rest: uv run esper-overwatch wandb {self._run}"
            )

    def _output(self, seconds: float) -> str | None:
        """Returns what the reader printed, ``None`` if it has not ended in time."""
        try:
            return self._process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            return None


def check_wandb(telemetry: TelemetryOptions, config: TrainingConfig) -> None:
    """Checks the flags of Weights & Biases before anything is created.

    Raises:
        EsperError: If they cannot be used.
    """
    options = telemetry.wandb_options
    if not telemetry.wandb:
        given = [each for each in WandbOptions.model_fields if each in options.model_fields_set]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise TrainError(f"{flag} says how --wandb works; give --wandb too, or leave it out")
        return
    check_options(options)
    if options.enabled and config.telemetry.level == "off":
        raise TrainError(
            "--wandb sends the telemetry of a run, and --telemetry-level off writes none; "
            "use minimal, normal or debug"
        )


def main(arguments: list[str] | None = None) -> int:
    """Sends a run until its trainer says that it ended, or is gone."""
    parser = ArgumentParser(prog="esper_train.wandb_reader")
    parser.add_argument("run", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--options", type=WandbOptions.model_validate_json, required=True)
    given = parser.parse_args(arguments)
    guard_streams()
    ignore_signals()
    from esper_karn.weights_and_biases.client import prepare_environment
    from esper_karn.weights_and_biases.export import export_run
    from esper_karn.weights_and_biases.exporter import Source
    from esper_karn.weights_and_biases.time_limit import WandbHangsError, leave_process

    prepare_environment(given.run)
    try:
        export_run(
            Source(run=given.run, folder=given.run, process=given.parent),
            given.options,
            stop=partial(trainer_is_done, given.parent),
            wait_for_stop=True,
            say=echo,
        )
    except WandbHangsError as error:
        echo_error(str(error), kind="warning")
        leave_process(FAILED)
    except KarnError as error:
        echo_error(f"{error}; training continues", kind="warning")
        return FAILED
    return 0


def trainer_is_done(parent: int) -> bool:
    """Whether the trainer has closed this process's standard input or has exited."""
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable) or os.getppid() != parent


if __name__ == "__main__":
    raise SystemExit(main())
