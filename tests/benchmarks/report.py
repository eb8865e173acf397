"""Results of a benchmark: lines for people, and whether each bar was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Report:
    """Lines of results, and whether each bar was reached."""

    lines: list[str] = field(default_factory=list)
    missed: int = 0

    def say(self, line: str) -> None:
        """Prints a line and keeps it."""
        print(line, flush=True)
        self.lines.append(line)

    def bar(self, name: str, value: float, bar: float, *, unit: str, least: bool = False) -> None:
        """Compares a value with its bar, the largest that is allowed, or the least."""
        reached = value >= bar if least else value <= bar
        self.missed += not reached
        verdict = "reached" if reached else "not reached"
        words = "at least" if least else "at most"
        self.say(f"{name:<52} {value:>9,.2f} {unit:<9} {words} {bar:,.10g}  {verdict}")


def replace_section(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replaces one section of a file of results, and keeps the others.

    Args:
        path: The file; it need not exist yet.
        name: The section's heading.
        lines: Its lines.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = dict(part.split("\n", 1) for part in text.split("## ")[1:])
    sections[name] = "\n".join(lines)
    parts = [f"## {heading}\n{body.strip()}\n" for heading, body in sections.items()]
    path.write_text("\n".join(parts), encoding="utf-8")
