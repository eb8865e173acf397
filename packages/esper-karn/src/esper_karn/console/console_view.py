"""The plain console view: one line per round, and a progress line on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from esper_karn.console.progress_line import ProgressLine
from esper_karn.console.round_line import round_remarks, round_variants
from esper_karn.formatting import format_count, pluralize
from esper_karn.log.reader import EventReader, problems_text
from esper_karn.state.reducer import Folding
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import RunState
from esper_karn.terminal.layout import GAP, fit_parts, join, wrapped
from esper_karn.views.levels import level_needed
from esper_karn.views.rounds import round_view
from esper_leyline import printable
from esper_leyline.events import (
    EnvironmentBuilt,
    Event,
    PPOUpdate,
    RoundCompleted,
    RunResumed,
    RunStarted,
)


class ConsoleView:
    """Prints a run on a console, event by event.

    Use it as a context manager, so that the progress line is removed at the end.

    Args:
        console: Where to print; it decides about colour, and honours ``NO_COLOR``.
        interactive: Whether to keep a progress line at the bottom.
    """

    def __init__(self, console: Console, *, interactive: bool) -> None:
        self._folding = Folding()
        self._console = console
        self._pending: RoundStats | None = None
        self._reported: set[str] = set()
        self._live = ProgressLine(console) if interactive else None

    @property
    def state(self) -> RunState:
        """The run's state after the events so far."""
        return self._folding.state()

    def __enter__(self) -> ConsoleView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def feed(self, event: Event) -> None:
        """Folds one event into the state, and prints the lines it completes."""
        if not self._folding.take(event):
            return
        if self._pending is not None and self._is_final(self._pending, event):
            self._print_pending()
        if isinstance(event.payload, RunStarted):
            needed = level_needed(self.state, ["round_completed"])
            if needed is not None:
                self._print_wrapped(f"rounds: {needed}")
        if isinstance(event.payload, RunResumed) and event.payload.checkpoint is not None:
            done = pluralize(event.payload.rounds_completed, "round")
            self._print_wrapped(f"resumed after {done}, from {event.payload.checkpoint}")
        if isinstance(event.payload, EnvironmentBuilt) and self.state.started is not None:
            line = describe_run(self.state.started, event.payload)
            self._print_wrapped(line, style="bold")
            if event.payload.plan is not None:
                self._print_wrapped(f"plan: {event.payload.plan}")
        if isinstance(event.payload, RoundCompleted):
            self._pending = self.state.report.rounds.last
            if not self._awaits_update():
                self._print_pending()

    def skip(self, event: Event) -> None:
        """Folds one event into the state, and prints nothing."""
        self._folding.take(event)

    def refresh(self) -> None:
        """Redraws the progress line if the state has changed."""
        if self._live is not None:
            self._live.show(self.state)

    def echo(self, line: str) -> None:
        """Prints one more line, after the line of a round that is still pending."""
        if self._pending is not None:
            self._print_pending()
        self._print(Text(printable(line)))

    def close(self) -> None:
        """Prints the pending line, if any, and removes the progress line."""
        if self._pending is not None:
            self._print_pending()
        if self._live is not None:
            self._live.stop()

    def _awaits_update(self) -> bool:
        """Whether the update of the pending round is still to come."""
        assert self._pending is not None
        built, update = self.state.built, self.state.update
        learns = built is not None and built.policy_parameters is not None
        return learns and (update is None or (update.round or 0) < self._pending.last)

    def _is_final(self, pending: RoundStats, event: Event) -> bool:
        """Whether an event is the update of a round, or shows that none will come."""
        if self.state.ended or isinstance(event.payload, RoundCompleted | PPOUpdate):
            return True
        return event.round is not None and event.round > pending.last

    def _print_pending(self) -> None:
        assert self._pending is not None
        view = round_view(self.state, self._pending)
        self._pending = None
        width = self._console.width
        parts, left_out = fit_parts(width, *round_variants(view, width))
        remarks = round_remarks(view)
        text = GAP.join([join(parts), *remarks])
        if cell_len(text) > width:
            self._print_wrapped(join(parts))
            for remark in remarks:
                self._print_wrapped(remark, GAP)
        else:
            self._print(Text(printable(text)))
        self._report_once(left_out)

    def _report_once(self, left_out: list[str]) -> None:
        """Prints which parts of the lines have no room, each only once."""
        names = [name for name in left_out if name not in self._reported]
        self._reported.update(names)
        if names:
            text = f"left out at {self._console.width} columns: {', '.join(names)}"
            self._print_wrapped(text, style="dim")

    def _print_wrapped(self, text: str, indent: str = "", style: str = "") -> None:
        for line in wrapped(printable(text), self._console.width, indent):
            self._print(Text(line, style))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _has_ended(state: RunState, since: int) -> bool:
    """Whether the process that writes events from ``since`` on has written the run's end."""
    return state.ended and state.cursor.sequence >= since


def follow(
    path: Path,
    console: Console,
    *,
    stop: Callable[[], bool],
    interactive: bool | None = None,
    poll: float = 0.1,
    since: int = 0,
) -> RunState:
    """Prints a run from its log until it ends or its process is gone.

    Args:
        path: The log; it need not exist yet.
        console: Where to print.
        stop: Whether the run's process is gone; everything it wrote is still printed.
        interactive: As in ``ConsoleView``; ``None`` asks the console.
        poll: Seconds between two reads of the log.
        since: Sequence number of the first event to print; those before it are only folded.

    Returns:
        The run's state at its last event, for the closing table.

    Raises:
        KarnError: If the log cannot be read.
    """
    moving = console.is_terminal if interactive is None else interactive
    with EventReader(path) as reader, ConsoleView(console, interactive=moving) as view:
        gone = False
        while not (gone or _has_ended(view.state, since)):
            # Call stop before reading, so that everything written until then is read.
            gone = stop()
            for event in reader.read():
                if event.sequence < since:
                    view.skip(event)
                else:
                    view.feed(event)
            view.refresh()
            if not (gone or _has_ended(view.state, since)):
                time.sleep(poll)
        if not view.state.ended:
            view.echo("the run's process is gone and its log has no end")
        if reader.problem_count:
            view.echo(problems_text(path, reader.problem_count, reader.problems[0]))
        return view.state


def describe_run(started: RunStarted, built: EnvironmentBuilt) -> str:
    """Describes a run in one line: command, task, device, length and sizes."""
    config = started.config
    rounds = pluralize(config.n_episodes, "round")
    hosts = pluralize(config.n_envs, "host")
    epochs = pluralize(config.max_epochs, "epoch")
    sizes = f"host {format_count(built.host_parameters)}"
    if built.policy_parameters is not None:
        sizes += f", policy {format_count(built.policy_parameters)}"
    return (
        f"{started.command} on {config.task}, {config.device}; "
        f"{rounds} of {hosts}, {epochs} each; {sizes} parameters"
    )
