"""The dashboard of the golden logs as text, at three sizes of a terminal.

    uv run --no-sync python tests/golden/dashboards.py

writes ``dashboards/``. ``test_golden_dashboards.py`` compares with it.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from million import read_golden

from esper_karn import Dashboard, EventReader, RunState, SafeConsole, fold

FOLDER = Path(__file__).parent / "dashboards"

SIZES = ((80, 24), (120, 40), (160, 50))

MOMENTS = {
    "running": ("default", 0.6),
    "ended": ("default", 1.0),
    "sixteen": ("sixteen", 0.9),
    "crashed": ("crashed", 1.0),
    "everything": ("everything", 1.0),
}
"""By name, a golden log and the share of its events that is shown."""


def state_of(log: str, share: float) -> RunState:
    """Returns the state of a golden log after the first events."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(read_golden(log))
        file.flush()
        with EventReader(Path(file.name)) as reader:
            events = list(reader.read())
    return fold(events[: round(len(events) * share)])


def draw(state: RunState, width: int, height: int) -> str:
    """Returns the dashboard as a terminal shows it, without colours."""
    file = io.StringIO()
    console = SafeConsole(file, colors=False)
    console.width, console.height = width, height
    console.print(Dashboard(state), height=height, end="")
    lines = file.getvalue().split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def pictures() -> Iterator[tuple[str, str]]:
    """Yields the name of each file, and its text."""
    for name, (log, share) in MOMENTS.items():
        state = state_of(log, share)
        for width, height in SIZES:
            yield f"{name}_{width}x{height}.txt", draw(state, width, height)


def main() -> int:
    """Writes the texts."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pictures():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
