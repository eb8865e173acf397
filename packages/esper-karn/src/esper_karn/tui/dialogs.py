"""Dialogs above the screens: help, the number of a host, and whether to stop the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from esper_karn.terminal.layout import Column, TableVariant
from esper_karn.tui.block import Block, paragraph, table
from esper_karn.tui.palette import Palette
from esper_karn.tui.panel import Panel

ResultT = TypeVar("ResultT")


class Dialog(ModalScreen[ResultT]):
    """A dialog that Escape closes.

    Args:
        palette: The colours.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", show=False)]

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.palette = palette

    def action_close(self) -> None:
        """Closes the dialog."""
        self.dismiss(None)


class Help(Dialog[None]):
    """The keys and what they do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,q", "close", show=False)]

    def __init__(self, palette: Palette, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__(palette)
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Arranges the list of keys."""
        yield Panel("keys: Esc closes", id="keys")

    def on_mount(self) -> None:
        """Draws the list."""
        self.query_one(Panel).show(self._draw, self.palette)

    def _draw(self, palette: Palette, width: int) -> Block:
        columns = [
            Column(
                head="key",
                cells=[key for key, _ in self._keys],
                left=True,
                styles=[palette.accent] * len(self._keys),
            ),
            Column(head="does", cells=[does for _, does in self._keys], left=True),
        ]
        return table(TableVariant(columns=columns), width=width)


class HostNumber(Dialog[int]):
    """Asks for the number of a host."""

    def compose(self) -> ComposeResult:
        """Arranges the input."""
        number = Input(type="integer", id="number", max_length=4)
        number.border_title = "open host number"
        yield number

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Returns the number."""
        self.dismiss(int(event.value) if event.value.isdecimal() else None)


class StopQuestion(Dialog[bool]):
    """Asks whether to stop the run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", show=False),
        Binding("n,q", "answer(False)", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Arranges the question."""
        yield Panel("stop the run?", id="question")

    def on_mount(self) -> None:
        """Draws the question."""
        self.query_one(Panel).show(self._draw, self.palette)

    def action_answer(self, yes: bool) -> None:
        """Returns the answer."""
        self.dismiss(yes)

    def _draw(self, palette: Palette, width: int) -> Block:
        text = "The run finishes its step, saves everything and ends; it can be resumed."
        keys = "y or Ctrl-C: stop and save    n or Esc: go on training"
        return Block(lines=[*paragraph(text, width), [], *paragraph(keys, width, palette.accent)])
