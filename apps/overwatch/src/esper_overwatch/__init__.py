"""esper-overwatch: looks at runs from their directories."""

from esper_overwatch.cli import main

__all__ = ["main"]
