"""Shows the dashboard of a run on the whole of a terminal until the run is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live

from esper_karn.console.dashboard.dashboard import SMALLEST, Dashboard
from esper_karn.log.reader import EventReader
from esper_karn.state.reducer import Folding
from esper_karn.state.run import RunState

PERIOD = 0.5
"""Seconds between two pictures."""


def live_dashboard(state: RunState, console: Console) -> Live:
    """Returns the dashboard as a context that fills the terminal, and is drawn on request only."""
    return Live(
        Dashboard(state),
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def has_room(console: Console) -> bool:
    """Whether a terminal is large enough for the dashboard."""
    return console.width >= SMALLEST[0] and console.height >= SMALLEST[1]


def watch(
    path: Path,
    console: Console,
    *,
    stop: Callable[[], bool],
    since: int = 0,
    period: float = PERIOD,
) -> RunState:
    """Shows a run until it ends or its process is gone, then restores the terminal.

    Args:
        path: The log; it need not exist yet.
        console: A terminal.
        stop: Whether the run's process is gone.
        since: Sequence number of the first event of the process that is watched; the end of an
            earlier one does not end the watch.
        period: Seconds between two pictures.

    Returns:
        The run's state at its last event.

    Raises:
        KarnError: If the log cannot be read.
    """
    folding = Folding(RunState())
    with (
        EventReader(path) as reader,
        live_dashboard(folding.state(), console) as live,
    ):
        over = False
        while not over:
            gone = stop()  # Before reading, so that everything written until then is read.
            for event in reader.read():
                folding.take(event)
            state = folding.state()
            live.update(Dashboard(state), refresh=True)
            over = gone or (state.ended and state.cursor.sequence >= since)
            if not over:
                time.sleep(period)
        return state
