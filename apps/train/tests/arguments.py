"""The arguments of the commands of both programs."""

from __future__ import annotations

import functools

from cyclopts import App

import esper_overwatch.cli
import esper_train.cli

MAINS = {"esper-train": esper_train.cli, "esper-overwatch": esper_overwatch.cli}


@functools.cache
def arguments() -> tuple[tuple[str, str, str, object], ...]:
    """Finds program, command, name and type of every argument; listing them takes seconds."""
    found = []
    for program, module in MAINS.items():
        assert isinstance(module.app, App)
        for command in module.app:
            if not command.startswith("-"):
                listed = module.app[command].assemble_argument_collection(parse_docstring=True)
                found += [(program, command, each.name, each.hint) for each in listed]
    return tuple(found)
