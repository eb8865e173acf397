"""The command line. Rich and Karn load with the commands, so ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError

if TYPE_CHECKING:
    from rich.console import Console

USAGE_ERROR = 2
PIPE_WIDTH = 120

app = App(
    name="esper-overwatch",
    help="Look at runs of esper-train: all in a folder, or one of them.",
    result_action="return_value",
)


@app.command(name="list")
def list_command(runs_folder: Path = Path("runs"), /) -> None:
    """List the runs in a folder, the latest first.

    Parameters
    ----------
    runs_folder
        The folder that esper-train's --runs named.
    """
    from esper_overwatch.runs import list_runs

    list_runs(runs_folder, _console(), now=time.time())


@app.command
def show(run: Path, /) -> None:
    """Show a run's rounds and how it ended, or what is known of one that has not.

    Parameters
    ----------
    run
        The run's directory.
    """
    from esper_overwatch.runs import show_run

    show_run(run, _console(), now=time.time())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        arguments: The command line; ``None`` takes the process's own.

    Returns:
        0, or 2 after one line on standard error that says what cannot be done.
    """
    from esper_leyline import EsperError

    if arguments is None:
        from esper_karn import guard_streams

        guard_streams()
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, EsperError) as error:
        return _refuse(str(error))
    return 0


def _console() -> Console:
    from rich.console import Console

    # A pipe has no width, and Rich would take 80 columns and cut; COLUMNS still decides.
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPE_WIDTH if piped else None)


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return USAGE_ERROR
