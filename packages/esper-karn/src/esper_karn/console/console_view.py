"""The plain console view: one line per round, and a progress line on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from esper_karn.console.layout import GAP, Part, fit_parts, join, wrapped
from esper_karn.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_index,
    format_signed,
    pluralize,
)
from esper_karn.log.reader import EventReader, problems_text
from esper_karn.state.reducer import Folding
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import RunState
from esper_karn.views.levels import level_needed
from esper_karn.views.progress import progress
from esper_karn.views.rounds import RoundView, round_view
from esper_leyline import RunStatus, printable
from esper_leyline.events import (
    EnvironmentBuilt,
    Event,
    Phase,
    PPOUpdate,
    RoundCompleted,
    RunStarted,
)

COMPACT_WIDTH = 120
"""Below this many columns, the lines of rounds are compact."""

BAR_WIDTH = 20
"""Columns of the progress bar."""


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
        self._live = _ProgressLine(console) if interactive else None

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
        parts, left_out = fit_parts(width, *_variants(view, width))
        remarks = _remarks(view)
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


def _variants(view: RoundView, width: int) -> list[list[Part]]:
    compact = _compact_parts(view)
    return [compact] if width < COMPACT_WIDTH else [_wide_parts(view), compact]


def _wide_parts(view: RoundView) -> list[Part]:
    stats = view.stats
    germinated, fossilized, pruned = _seed_counts(stats)
    return [
        Part(text=_round_of_total(view)),
        Part(text=f"return {format_signed(stats.mean_return):>6}"),
        Part(text=f"accuracy {format_fixed(stats.mean_accuracy, 1):>4} %"),
        Part(text=f"germinated {germinated:>2} fossilized {fossilized:>2} pruned {pruned:>2}"),
        *_update_parts(view, "entropy"),
        Part(text=f"ETA {format_duration(view.eta)}"),
    ]


def _compact_parts(view: RoundView) -> list[Part]:
    stats = view.stats
    return [
        Part(text=_round_of_total(view)),
        Part(text=f"ret {format_signed(stats.mean_return):>6}"),
        Part(text=f"acc {format_fixed(stats.mean_accuracy, 1):>4} %"),
        Part(text=f"seeds {'/'.join(_seed_counts(stats)):<8}", name="seeds", rank=1),
        *_update_parts(view, "H"),
        Part(text=f"ETA {format_duration(view.eta)}", name="ETA", rank=2),
    ]


def _seed_counts(stats: RoundStats) -> tuple[str, str, str]:
    return (
        format_count(stats.germinated),
        format_count(stats.fossilized),
        format_count(stats.pruned),
    )


def _round_of_total(view: RoundView) -> str:
    number = format_index(view.stats.last)
    if not view.rounds_total:
        return f"round {number}"
    total = format_index(view.rounds_total)
    return f"round {number:>{len(total)}}/{total}"


def _update_parts(view: RoundView, entropy: str) -> list[Part]:
    update = view.update
    if update is None or (update.kl is None and update.entropy is None):
        return []
    return [
        Part(text=f"KL {format_fixed(update.kl, 3)}", name="KL", rank=3),
        Part(text=f"{entropy} {format_fixed(update.entropy, 2)}", name="entropy", rank=4),
    ]


def _remarks(view: RoundView) -> list[str]:
    stats, remarks = view.stats, []
    if stats.rollbacks:
        found = stats.rollback_causes.items()
        causes = ", ".join(f"{format_count(number)} {name}" for name, number in found)
        rolled_back = f"{format_count(stats.rollbacks)} rolled back"
        remarks.append(f"{rolled_back}: {causes}" if causes else rolled_back)
    if view.update is not None and view.update.skipped is not None:
        remarks.append(f"update skipped: {view.update.skipped}")
    return remarks


class _ProgressLine:
    """A line at the bottom of a terminal: how far the run and its current round are."""

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
        self._live.start(refresh=True)

    def stop(self) -> None:
        self._live.stop()

    def show(self, state: RunState) -> None:
        if state is self._shown:
            return
        self._shown = state
        self._live.update(Text(progress_line(state, self._console.width)), refresh=True)


def progress_line(state: RunState, width: int) -> str:
    """Describes how far a run is; parts without room are counted, as in ``+2``."""
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
