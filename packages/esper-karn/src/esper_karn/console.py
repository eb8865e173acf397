"""The plain console view: a line a round, and on a terminal one that moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from esper_karn.reader import EventReader, problems_text
from esper_karn.reducer import reduce
from esper_karn.selectors import Header, RoundLine, header, progress, round_line
from esper_karn.state import RunState
from esper_karn.table import COMPACT_WIDTH
from esper_karn.text import printable
from esper_karn.wording import count, duration, plain, several, signed
from esper_leyline import RoundSummary, RunStatus
from esper_leyline.events import Event, PPOUpdate, RoundCompleted


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
            self._print(Text(run_line(header(self.state)), "bold"))
        if isinstance(event.payload, RoundCompleted):
            self._due = event.payload.summary
            if not self._awaits_update(self._due):
                self._print_due()

    def refresh(self) -> None:
        """Draws the moving line anew if anything has changed."""
        if self._live is not None:
            self._live.show(self.state)

    def say(self, line: str) -> None:
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
        return learns and (update is None or update.round < summary.round)

    def _settled(self, due: RoundSummary, event: Event) -> bool:
        """Whether an event brings the update a round waits for, or shows that none will come."""
        if self.state.ended or isinstance(event.payload, RoundCompleted | PPOUpdate):
            return True
        number: int = getattr(event.payload, "round", 0)
        return number > due.round

    def _print_due(self) -> None:
        assert self._due is not None
        line = round_line(self.state, self._due)
        self._due = None
        compact = self._console.width < COMPACT_WIDTH
        self._print((_compact_line if compact else _wide_line)(line))

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
    """Shows a run from its log until it ends, or nobody writes any more.

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
            view.say("the run's process is gone and its log has no end")
        if reader.problem_count:
            view.say(problems_text(path, reader.problem_count, reader.problems[0]))
        return view.state


def run_line(facts: Header) -> str:
    """Words what run this is."""
    parts = [f"{facts.command} on {facts.task}, {facts.device}"]
    if facts.rounds is not None and facts.environments is not None:
        rounds, hosts = several(facts.rounds, "round"), several(facts.environments, "host")
        parts.append(f"{rounds} of {hosts}, {several(facts.max_epochs or 0, 'epoch')} each")
    sizes = f"host {count(facts.host_parameters)}"
    if facts.policy_parameters is not None:
        sizes += f", policy {count(facts.policy_parameters)}"
    return "; ".join([*parts, f"{sizes} parameters"])


def _wide_line(line: RoundLine) -> Text:
    cells = [
        _round(line),
        f"return {signed(line.mean_return):>6}",
        f"accuracy {plain(line.mean_accuracy, 1):>4} %",
        f"germinated {line.germinated:>2} fossilized {line.fossilized:>2} pruned {line.pruned:>2}",
        *_update(line, "entropy"),
        f"ETA {duration(line.eta)}",
        *_remarks(line),
    ]
    return Text("  ".join(cells))


def _compact_line(line: RoundLine) -> Text:
    seeds = f"{line.germinated}/{line.fossilized}/{line.pruned}"
    cells = [
        _round(line),
        f"ret {signed(line.mean_return):>6}",
        f"acc {plain(line.mean_accuracy, 1):>4} %",
        f"seeds {seeds:<8}",
        *_update(line, "H"),
        f"ETA {duration(line.eta)}",
        *_remarks(line),
    ]
    return Text("  ".join(cells))


def _round(line: RoundLine) -> str:
    total = line.rounds_total
    return f"round {line.round:>{len(str(total))}}/{total}" if total else f"round {line.round}"


def _update(line: RoundLine, entropy: str) -> list[str]:
    if line.kl is None and line.entropy is None:
        return []
    return [f"KL {plain(line.kl, 3)}", f"{entropy} {plain(line.entropy, 2)}"]


def _remarks(line: RoundLine) -> list[str]:
    remarks = []
    if line.rollbacks:
        causes = ", ".join(f"{number} {name}" for name, number in line.rollback_causes.items())
        remarks.append(f"{line.rollbacks} rolled back" + (f": {causes}" if causes else ""))
    if line.skipped is not None:
        remarks.append(f"update skipped: {line.skipped}")
    return remarks


class _LiveLine:
    """A bar at the bottom of a terminal: the run's share, and where the round stands."""

    def __init__(self, console: Console) -> None:
        self._shown: RunState | None = None
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20 if console.width < COMPACT_WIDTH else 40),
            TextColumn("{task.fields[detail]}"),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID = self._bar.add_task("starting", total=1.0, detail="")

    def start(self) -> None:
        self._bar.start()

    def stop(self) -> None:
        self._bar.stop()

    def show(self, state: RunState) -> None:
        if state is self._shown:
            return
        self._shown = state
        self._bar.update(
            self._task,
            description=_where(state),
            completed=progress(state).share or 0.0,
            detail=_detail(state),
            refresh=True,
        )


def _where(state: RunState) -> str:
    if state.facts.started is None:
        return "starting"
    now = progress(state)
    return f"round {now.round}/{now.rounds_total}"


def _detail(state: RunState) -> str:
    now = progress(state)
    parts = []
    if state.facts.started is not None and state.status is RunStatus.RUNNING:
        parts.append(f"host epoch {now.epochs_done}/{now.epochs_total}")
    if now.mean_accuracy is not None:
        parts.append(f"accuracy {plain(now.mean_accuracy, 1)} %")
    if now.eta is not None:
        parts.append(f"ETA {duration(now.eta)}")
    return "  ".join(parts)
