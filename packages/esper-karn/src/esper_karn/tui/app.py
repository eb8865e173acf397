"""The program: it asks for a frame, draws it, and asks again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from esper_karn.tui.dialogs import Help, HostNumber, StopQuestion
from esper_karn.tui.keys import KEYS, LEAVE, STOP
from esper_karn.tui.leaving import Leaving
from esper_karn.tui.palette import NO_COLOUR, PALETTES, Palette
from esper_karn.tui.panes.decisions import DecisionsPane
from esper_karn.tui.panes.log import LogPane
from esper_karn.tui.panes.policy import PolicyPane
from esper_karn.tui.panes.run import RunPane
from esper_karn.tui.run_screen import RunScreen
from esper_karn.tui.shown import Shown
from esper_karn.tui.source import RunSource

PERIOD = 0.25
"""Seconds between two frames: at most four a second."""


class Sanctum(App[Leaving]):
    """Shows one run.

    Args:
        source: The run.
        since: Sequence number of the first event of the process that is watched: Sanctum leaves
            when that process has ended its run. ``None`` to stay until the user leaves.
        interrupt: Stops the run as Ctrl-C does; ``None`` if it is not ours to stop.
        alone: Whether the process that started Sanctum is gone: then it leaves.

    Attributes:
        answers: Number of frames that were drawn.
    """

    CSS_PATH = "sanctum.tcss"
    TITLE = "Sanctum"
    COMMAND_PALETTE_BINDING = "colon"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - typed by App
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("q", "leave", "Quit", show=False),
        Binding("g", "host_number", show=False),
        Binding("t", "next_theme", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(
        self,
        source: RunSource,
        *,
        since: int | None = None,
        interrupt: Callable[[], None] | None = None,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.answers = 0
        self._source = source
        self._since = since
        self._interrupt = interrupt
        self._alone = alone
        self._is_stopping = False
        self._palettes = (NO_COLOUR,) if self.no_color else PALETTES
        self._wanted = asyncio.Event()
        self._shown = Shown()
        hint = "q lines" if since is not None else "q quit"
        self._run = RunScreen(self._shown, self._palettes[0], hint, self.ask)

    def on_mount(self) -> None:
        """Opens the screen of the run, and begins to ask."""
        for palette in PALETTES:
            self.register_theme(palette.theme())
        self.theme = self._palettes[0].name
        with suppress(NotImplementedError, RuntimeError, ValueError):
            # Only where signals can be handled: not in a thread.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.action_leave)
        self.push_screen(self._run)
        self._follow()

    @property
    def is_reading(self) -> bool:
        """Whether a long log is still being opened."""
        return self._shown.share < 1.0

    @property
    def run_screen(self) -> RunScreen:
        """The screen of the run."""
        return self._run

    def ask(self) -> None:
        """Asks for the next frame at once."""
        self._wanted.set()

    def action_leave(self) -> None:
        """Leaves Sanctum; the run goes on."""
        self.exit(Leaving.QUIT)

    def action_interrupt(self) -> None:
        """Stops the run, after a question; leaves Sanctum if the run is not ours to stop."""
        if self._interrupt is None:
            self.action_leave()
        elif self._is_stopping:
            self._interrupt()
        elif isinstance(self.screen, StopQuestion):
            self.screen.action_answer(True)
        else:
            self.push_screen(StopQuestion(self._run.palette), self._stop)

    def action_help(self) -> None:
        """Shows the keys."""
        last = LEAVE if self._interrupt is None else STOP
        self.push_screen(Help(self._run.palette, (*KEYS, last)))

    def action_host_number(self) -> None:
        """Asks for the number of a host, and opens it."""
        self.push_screen(HostNumber(self._run.palette), self._open_host)

    def action_next_theme(self) -> None:
        """Changes the colours."""
        index = self._palettes.index(self._run.palette) + 1
        self._set_palette(self._palettes[index % len(self._palettes)])

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Returns the commands of the palette."""
        del screen
        run = self._run
        for pane in (RunPane, PolicyPane, DecisionsPane, LogPane):
            title = pane.title
            yield SystemCommand(f"Screen: {title}", "Open it", partial(run.open_pane, title))
        for host in range(run.hosts):
            yield SystemCommand(f"Host {host}", "Open it", partial(run.action_host, host))
        for palette in self._palettes:
            set_palette = partial(self._set_palette, palette)
            yield SystemCommand(f"Theme: {palette.name}", "Use its colours", set_palette)
        yield SystemCommand("Pause", "Pause, or go on", run.action_pause)
        yield SystemCommand("Filter", "Filter the log", run.action_filter)
        yield SystemCommand("Scale", "Logarithmic or linear histories", run.action_scale)
        yield SystemCommand("Keys", "Show the keys", self.action_help)
        yield SystemCommand("Quit", "Leave; training goes on", self.action_leave)
        if self._interrupt is not None:
            yield SystemCommand("Stop the run", "Save and end it", self.action_interrupt)

    @work(exclusive=True)
    async def _follow(self) -> None:
        """Asks for a frame, draws it, and asks again when there may be another."""
        while True:
            self._wanted.clear()
            answer = await asyncio.to_thread(self._source.answer, self._run.request())
            if self._shown.take(answer):
                self._run.draw()
            await self._drawn()
            self.answers += 1
            if self._since is not None and self._shown.ended and answer.latest >= self._since:
                self.exit(Leaving.ENDED)
                return
            if self._alone():
                self.exit(Leaving.QUIT)
                return
            if not (self.is_reading or (answer.log is not None and answer.log.share < 1.0)):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), PERIOD)

    async def _drawn(self) -> None:
        """Waits until the terminal has the last frame."""
        drawn = asyncio.Event()
        self.call_after_refresh(drawn.set)
        await drawn.wait()

    def _set_palette(self, palette: Palette) -> None:
        self.theme = palette.name
        self._run.set_palette(palette)

    def _open_host(self, number: int | None) -> None:
        if number is not None:
            self._run.action_host(number)

    def _stop(self, wanted: bool | None) -> None:
        if wanted and self._interrupt is not None:
            self._is_stopping = True
            self._run.set_hint("stopping: the run saves everything; Ctrl-C again does not wait")
            self._interrupt()
