"""Where output leaves a process: the only module that writes to the standard streams.

Everything that is printed passes through here, where control characters are escaped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from esper_leyline import printable

NO_LIMIT = 1_000_000
"""The width of a file or a pipe, in columns: lines are as long as they have to be."""


class SafeConsole(Console):
    """A Rich console for a terminal, a file or a pipe.

    Characters of printed text that are not visible are escaped; colours and cursor movements
    are Rich's own. A file or a pipe has no width, so nothing is wrapped or left out there,
    unless the environment variable ``COLUMNS`` gives a width.

    Args:
        file: Where to print, ``None`` for standard output.
        colors: Whether colours may be used.

    Attributes:
        limited: Whether there is a width that lines have to fit.
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
        """Renders as Rich does, and escapes what is not visible."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)


def echo(line: str) -> None:
    """Prints one line at once, so that it stands before what other processes print."""
    sys.stdout.write(f"{printable(line)}\n")
    sys.stdout.flush()


def echo_error(message: str, kind: str = "error") -> None:
    """Prints ``error: message`` as one line on standard error.

    Args:
        message: What is wrong.
        kind: What it is: ``error`` or ``warning``.
    """
    sys.stderr.write(f"{kind}: {printable(message)}\n")
    sys.stderr.flush()
