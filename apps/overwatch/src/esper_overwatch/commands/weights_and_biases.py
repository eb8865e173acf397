"""Sends a run to Weights & Biases."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from esper_karn import Liveness, echo, echo_error
from esper_karn.weights_and_biases.options import WandbOptions, check_options
from esper_leyline.files.paths import check_folder_of

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_Flat = Parameter(
    name="*", negative=(), negative_iterable=(), consume_multiple=(1, None), show_default=False
)
_OPTIONS = WandbOptions()

FAILED = 1
"""Exit code if wandb hangs."""


def send_run(
    run: Path,
    /,
    *,
    options: Annotated[WandbOptions, _Flat] = _OPTIONS,
    out: Path | None = None,
) -> None:
    """Send a run to Weights & Biases: all of a finished one, a running one while it trains.

    A run that was sent before is continued. Needs: uv sync --extra wandb.

    Parameters
    ----------
    run
        The run's directory.
    out
        Folder for the files of wandb. Default: the run's directory.
    """
    check_options(options)
    if out is not None:
        check_folder_of("--out", out)
    if not options.enabled:
        echo("wandb: disabled; nothing is sent")
        return
    from esper_karn.weights_and_biases.client import prepare_environment
    from esper_karn.weights_and_biases.export import export_run
    from esper_karn.weights_and_biases.exporter import Source
    from esper_karn.weights_and_biases.time_limit import WandbHangsError, leave_process

    folder = run if out is None else out
    prepare_environment(folder)
    try:
        with _stop_signals() as stopped:
            liveness = export_run(
                Source(run=run, folder=folder),
                options,
                stop=lambda: bool(stopped),
                wait_for_stop=False,
                say=echo,
            )
    except WandbHangsError as error:
        echo_error(str(error))
        leave_process(FAILED)
    if liveness is Liveness.CRASHED:
        echo("the run crashed; what its log holds was sent, and a resumed run continues there")
    elif liveness is not Liveness.ENDED:
        echo(f"the run has not ended; send the rest later: esper-overwatch wandb {run}")


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects the first stopping signal; a second one acts as usual."""
    stopped: list[int] = []
    previous = {number: signal.getsignal(number) for number in _STOPPING}

    def handle(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)
        for each, handler in previous.items():
            signal.signal(each, handler)

    for number in _STOPPING:
        signal.signal(number, handle)
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
