"""A sink: gets every event of a run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from esper_leyline.events import Event


class KindCounter:
    """Counts the events of each kind, and writes ``kinds.json`` when the run ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kinds.json"
        self.kinds: Counter[str] = Counter()

    def emit(self, event: Event) -> None:
        """Counts one event."""
        self.kinds[event.kind] += 1

    def close(self) -> None:
        """Writes the counts."""
        self.path.write_text(json.dumps(self.kinds), encoding="utf-8")
