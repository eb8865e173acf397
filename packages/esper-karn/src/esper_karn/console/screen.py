"""The only module that writes to the standard streams; it escapes control characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from esper_leyline import printable

NO_LIMIT = 1_000_000
"""Width of a file or a pipe, in columns: lines are never wrapped there."""


class SafeConsole(Console):
    """A Rich console for a terminal, a file or a pipe.

    Characters of the text that are not visible are escaped; colours and cursor movements
    come from Rich. A file or a pipe has no width, so nothing is wrapped or left out there,
    unless the environment variable ``COLUMNS`` sets a width.

    Args:
        file: Where to print, ``None`` for standard output.
        colors: Whether colours may be used.

    Attributes:
        limited: Whether lines must fit a width.
    """

    def __init__(self, file: TextIO | None = None, *, colors: bool = True) -> None:
        stream = sys.stdout if file is None else file
        self.limited = stream.isatty() or os.environ.get("COLUMNS", "").isdigit()
        super().__init__(
            file=file,
            width=None if self.limited else NO_LIMIT,
            no_color=None if colors else True,
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Renders as Rich does, and escapes characters that are not visible."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)


def echo(line: str) -> None:
    """Prints one line and flushes, so that it precedes the output of later processes."""
    sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def echo_all(lines: Iterable[str]) -> None:
    """Prints lines, and flushes after the last one."""
    for line in lines:
        sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def echo_error(message: str, kind: str = "error") -> None:
    """Prints ``error: message`` as one line on standard error.

    Args:
        message: One line that says what is wrong.
        kind: ``error`` or ``warning``.
    """
    sys.stderr.write(f"{kind}: {printable(message)}\n")
    sys.stderr.flush()
