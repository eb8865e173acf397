"""The line at the bottom of a terminal: how far a run and its current round are."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.text import Text

from esper_karn.formatting import format_duration, format_fixed, format_index
from esper_karn.state.run import RunState
from esper_karn.terminal.layout import GAP, Part, fit_parts, join
from esper_karn.views.levels import level_needed
from esper_karn.views.progress import progress
from esper_leyline import RunStatus
from esper_leyline.events import Phase

BAR_WIDTH = 20
"""Columns of the progress bar."""


class ProgressLine:
    """A line that is drawn again at the bottom of a terminal.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: RunState | None = None
        self._live = Live(
            Text("starting"),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Draws it."""
        self._live.start(refresh=True)

    def stop(self) -> None:
        """Removes it."""
        self._live.stop()

    def show(self, state: RunState) -> None:
        """Draws it again if the state is another one."""
        if state is self._shown:
            return
        self._shown = state
        self._live.update(Text(progress_line(state, self._console.width)), refresh=True)


def progress_line(state: RunState, width: int) -> str:
    """Describes how far a run is; parts that do not fit are counted, as in ``+2``."""
    if state.built is None:
        return _phase_text(state)
    parts = _progress_parts(state)
    kept, left_out = fit_parts(width, parts)
    if left_out:
        kept, left_out = fit_parts(width - len(GAP) - 2, parts)
        kept.append(Part(text=f"+{len(left_out)}"))
    return join(kept)


def _phase_text(state: RunState) -> str:
    """Describes what a run is doing before its first round."""
    if state.phase is None:
        return "starting"
    return state.phase.phase.value.replace("_", " ")


def _progress_parts(state: RunState) -> list[Part]:
    now = progress(state)
    where = f"round {format_index(now.round)}"
    if now.rounds_total:
        where += f"/{format_index(now.rounds_total)}"
    done = round(BAR_WIDTH * min(1.0, max(0.0, now.share or 0.0)))
    if state.phase is not None and state.phase.phase is not Phase.TRAINING:
        where += f" {_phase_text(state)}"
    parts = [
        Part(text=where),
        Part(text="━" * done + "─" * (BAR_WIDTH - done), name="bar", rank=4),
    ]
    if state.status is RunStatus.RUNNING:
        epochs, total = format_index(now.epochs_done), format_index(now.epochs_total or 0)
        needed = level_needed(state, ["epoch_completed"])
        text = f"host epoch {epochs}/{total}" if needed is None else f"host epoch {needed}"
        parts.append(Part(text=text, name="host epoch", rank=3))
    if now.mean_accuracy is not None:
        accuracy = f"accuracy {format_fixed(now.mean_accuracy, 1)} %"
        parts.append(Part(text=accuracy, name="accuracy", rank=2))
    if now.eta is not None:
        parts.append(Part(text=f"ETA {format_duration(now.eta)}", name="ETA", rank=1))
    return parts
