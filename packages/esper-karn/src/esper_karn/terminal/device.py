"""The terminal: whether there is one, and how it was before a full-screen program took it."""

from __future__ import annotations

import os
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

RESTORE = (
    "\x1b[?2004l"  # bracketed paste
    "\x1b[?7h"  # lines wrap
    "\x1b[?2048l"  # reports of the size
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # mouse
    "\x1b[?1004l"  # reports of the focus
    "\x1b[<u"  # keyboard protocol
    "\x1b[?1049l"  # alternate screen
    "\x1b[?25h"  # cursor
    "\x1b[0m"
)
"""Leaves all modes of a full-screen program."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The settings of the terminal of standard input.

    Attributes:
        settings: As ``termios`` has them; ``None`` where there is no terminal.
    """

    settings: list[Any] | None

    @classmethod
    def now(cls) -> Terminal:
        """Returns the settings as they are."""
        with suppress(termios.error, OSError, ValueError):
            return cls(termios.tcgetattr(0))
        return cls(None)

    def restore(self) -> None:
        """Leaves the full screen, and sets the terminal as it was."""
        if self.settings is not None:
            with suppress(termios.error, OSError, ValueError):
                # What was typed for the program that is gone is not for the shell.
                termios.tcsetattr(0, termios.TCSAFLUSH, self.settings)
        with suppress(OSError, ValueError):
            os.write(1, RESTORE.encode())


_STREAMS = ("standard input", "standard output", "standard error")


def why_no_terminal(streams: Sequence[int] = (0, 1)) -> str | None:
    """Says why a full-screen program cannot run here, ``None`` if it can.

    Args:
        streams: Numbers of the streams that must be a terminal; Textual draws on number 2.
    """
    for number in streams:
        name = _STREAMS[number]
        if not os.isatty(number):
            return f"{name} is not a terminal"
    if os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        return f"TERM is '{os.environ.get('TERM', '')}'"
    return None
