"""The plain console view: a line a round, and on a terminal one that moves."""

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
from esper_karn.state.reducer import reduce
from esper_karn.state.run import RunState
from esper_karn.views.progress import Header, RoundLine, header, progress, round_line
from esper_leyline import RoundSummary, RunStatus, printable
from esper_leyline.events import Event, PPOUpdate, RoundCompleted

COMPACT_WIDTH = 120
"""Below this many columns, the lines of rounds are compact."""

BAR_WIDTH = 20


class ConsoleView:
    """Shows a run on a console from the events it is fed.

    Use it as a context manager, so that the moving line is taken away at the end.

    Args:
        console: Where to print; it decides about colour, and honours ``NO_COLOR``.
        interactive: Whether to keep a line at the bottom that moves within the round.
    """

    def __init__(self, console: Console, *, interactive: bool) -> None:
        self.state = RunState()
        self._console = console
        self._due: RoundSummary | None = None
        self._named: set[str] = set()
        self._live = _LiveLine(console) if interactive else None

    def __enter__(self) -> ConsoleView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def feed(self, event: Event) -> None:
        """Takes in one event and prints what it completes."""
        seen = event.run_id == self.state.run_id and event.sequence <= self.state.cursor.sequence
        self.state = reduce(self.state, event)
        if seen:
            return
        if self._due is not None and self._settled(self._due, event):
            self._print_due()
        if event.kind == "run_started":
            self._print_wrapped(describe_run(header(self.state)), style="bold")
        if isinstance(event.payload, RoundCompleted):
            self._due = event.payload.summary
            if not self._awaits_update(self._due):
                self._print_due()

    def refresh(self) -> None:
        """Draws the moving line again if anything has changed."""
        if self._live is not None:
            self._live.show(self.state)

    def echo(self, line: str) -> None:
        """Prints a line of the view's own, after the round that is still due."""
        if self._due is not None:
            self._print_due()
        self._print(Text(printable(line)))

    def close(self) -> None:
        """Prints what is still due and takes the moving line away."""
        if self._due is not None:
            self._print_due()
        if self._live is not None:
            self._live.stop()

    def _awaits_update(self, summary: RoundSummary) -> bool:
        """Whether the figures of the learner's update for this round are still to come."""
        started, update = self.state.facts.started, self.state.update
        learns = started is not None and started.policy_parameters is not None
        return learns and (update is None or self.state.update_round < summary.round)

    def _settled(self, due: RoundSummary, event: Event) -> bool:
        """Whether an event brings the update a round waits for, or shows that none will come."""
        if self.state.ended or isinstance(event.payload, RoundCompleted | PPOUpdate):
            return True
        return event.round is not None and event.round > due.round

    def _print_due(self) -> None:
        assert self._due is not None
        line = round_line(self.state, self._due)
        self._due = None
        width = self._console.width
        parts, left_out = fit_parts(width, *_forms(line, width))
        remarks = _remarks(line)
        text = GAP.join([join(parts), *remarks])
        if cell_len(text) > width:
            self._print_wrapped(join(parts))
            for remark in remarks:
                self._print_wrapped(remark, GAP)
        else:
            self._print(Text(printable(text)))
        self._name_once(left_out)

    def _name_once(self, left_out: list[str]) -> None:
        """Says which parts of the lines have no room, where this was not yet said."""
        names = [name for name in left_out if name not in self._named]
        self._named.update(names)
        if names:
            text = f"left out at {self._console.width} columns: {', '.join(names)}"
            self._print_wrapped(text, style="dim")

    def _print_wrapped(self, text: str, indent: str = "", style: str = "") -> None:
        for line in wrapped(printable(text), self._console.width, indent):
            self._print(Text(line, style))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def follow(
    path: Path,
    console: Console,
    *,
    stop: Callable[[], bool],
    interactive: bool | None = None,
    poll: float = 0.1,
) -> RunState:
    """Shows a run from its log until it ends or its writer is gone.

    Args:
        path: The log; it need not exist yet.
        console: Where to print.
        stop: Whether the run's process is gone; what it wrote is shown nevertheless.
        interactive: As in ``ConsoleView``; ``None`` asks the console.
        poll: Seconds between looks at the log.

    Returns:
        The run's state at its last event, for the closing table.

    Raises:
        KarnError: If the log cannot be read.
    """
    moving = console.is_terminal if interactive is None else interactive
    with EventReader(path) as reader, ConsoleView(console, interactive=moving) as view:
        gone = False
        while not (gone or view.state.ended):
            # Asked before reading, so that everything written until then is read.
            gone = stop()
            for event in reader.read():
                view.feed(event)
            view.refresh()
            if not (gone or view.state.ended):
                time.sleep(poll)
        if not view.state.ended:
            view.echo("the run's process is gone and its log has no end")
        if reader.problem_count:
            view.echo(problems_text(path, reader.problem_count, reader.problems[0]))
        return view.state


def describe_run(facts: Header) -> str:
    """Words what run this is."""
    parts = [f"{facts.command} on {facts.task}, {facts.device}"]
    if facts.rounds is not None and facts.environments is not None:
        rounds, hosts = pluralize(facts.rounds, "round"), pluralize(facts.environments, "host")
        parts.append(f"{rounds} of {hosts}, {pluralize(facts.max_epochs or 0, 'epoch')} each")
    sizes = f"host {format_count(facts.host_parameters)}"
    if facts.policy_parameters is not None:
        sizes += f", policy {format_count(facts.policy_parameters)}"
    return "; ".join([*parts, f"{sizes} parameters"])


def _forms(line: RoundLine, width: int) -> list[list[Part]]:
    compact = _compact_parts(line)
    return [compact] if width < COMPACT_WIDTH else [_wide_parts(line), compact]


def _wide_parts(line: RoundLine) -> list[Part]:
    germinated, fossilized, pruned = _seeds(line)
    return [
        Part(text=_round(line)),
        Part(text=f"return {format_signed(line.mean_return):>6}"),
        Part(text=f"accuracy {format_fixed(line.mean_accuracy, 1):>4} %"),
        Part(text=f"germinated {germinated:>2} fossilized {fossilized:>2} pruned {pruned:>2}"),
        *_update(line, "entropy"),
        Part(text=f"ETA {format_duration(line.eta)}"),
    ]


def _compact_parts(line: RoundLine) -> list[Part]:
    seeds = "/".join(_seeds(line))
    return [
        Part(text=_round(line)),
        Part(text=f"ret {format_signed(line.mean_return):>6}"),
        Part(text=f"acc {format_fixed(line.mean_accuracy, 1):>4} %"),
        Part(text=f"seeds {seeds:<8}", name="seeds", rank=1),
        *_update(line, "H"),
        Part(text=f"ETA {format_duration(line.eta)}", name="ETA", rank=2),
    ]


def _seeds(line: RoundLine) -> tuple[str, str, str]:
    return format_count(line.germinated), format_count(line.fossilized), format_count(line.pruned)


def _round(line: RoundLine) -> str:
    number = format_index(line.round)
    if not line.rounds_total:
        return f"round {number}"
    total = format_index(line.rounds_total)
    return f"round {number:>{len(total)}}/{total}"


def _update(line: RoundLine, entropy: str) -> list[Part]:
    if line.kl is None and line.entropy is None:
        return []
    return [
        Part(text=f"KL {format_fixed(line.kl, 3)}", name="KL", rank=3),
        Part(text=f"{entropy} {format_fixed(line.entropy, 2)}", name="entropy", rank=4),
    ]


def _remarks(line: RoundLine) -> list[str]:
    remarks = []
    if line.rollbacks:
        found = line.rollback_causes.items()
        causes = ", ".join(f"{format_count(number)} {name}" for name, number in found)
        remarks.append(
            f"{format_count(line.rollbacks)} rolled back" + (f": {causes}" if causes else "")
        )
    if line.skipped is not None:
        remarks.append(f"update skipped: {line.skipped}")
    return remarks


class _LiveLine:
    """A line at the bottom of a terminal: the run's share, and where the round stands."""

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
    """Words where a run stands; what has no room at this width is counted, as in ``+2``."""
    if state.facts.started is None:
        return "starting"
    parts = _live_parts(state)
    kept, left_out = fit_parts(width, parts)
    if left_out:
        kept, left_out = fit_parts(width - len(GAP) - 2, parts)
        kept.append(Part(text=f"+{len(left_out)}"))
    return join(kept)


def _live_parts(state: RunState) -> list[Part]:
    now = progress(state)
    where = f"round {format_index(now.round or 0)}"
    if now.rounds_total:
        where += f"/{format_index(now.rounds_total)}"
    done = round(BAR_WIDTH * min(1.0, max(0.0, now.share or 0.0)))
    parts = [
        Part(text=where),
        Part(text="━" * done + "─" * (BAR_WIDTH - done), name="bar", rank=4),
    ]
    if state.status is RunStatus.RUNNING:
        epochs = (
            f"host epoch {format_index(now.epochs_done or 0)}/{format_index(now.epochs_total or 0)}"
        )
        parts.append(Part(text=epochs, name="host epoch", rank=3))
    if now.mean_accuracy is not None:
        accuracy = f"accuracy {format_fixed(now.mean_accuracy, 1)} %"
        parts.append(Part(text=accuracy, name="accuracy", rank=2))
    if now.eta is not None:
        parts.append(Part(text=f"ETA {format_duration(now.eta)}", name="ETA", rank=1))
    return parts
