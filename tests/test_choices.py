"""A flag with a fixed set of values names them, in one line, when it is given another one."""

from __future__ import annotations

from enum import Enum
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import pytest

import esper_overwatch
import esper_overwatch.cli
import esper_train
import esper_train.cli

PROGRAMS = {
    "esper-train": (esper_train.cli.app, esper_train.main),
    "esper-overwatch": (esper_overwatch.cli.app, esper_overwatch.cli.main),
}


def choices_of(hint):
    """The values that a type allows; none for a type without a fixed set."""
    if get_origin(hint) is Literal:
        return [str(each) for each in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [each.name for each in hint]
    if get_origin(hint) in (Union, UnionType, tuple, list):
        return [name for each in get_args(hint) for name in choices_of(each)]
    return []


CASES = sorted(
    (program, command, argument.name, tuple(choices))
    for program, (app, _) in PROGRAMS.items()
    for command in app
    if not command.startswith("-")
    for argument in app[command].assemble_argument_collection()
    if argument.name.startswith("--") and (choices := choices_of(argument.hint))
)


def test_the_flags_with_choices_are_found():
    found = {flag for _, _, flag, _ in CASES}
    assert {"--wandb-mode", "--telemetry-level", "--format", "--ppo-critic"} <= found


@pytest.mark.parametrize(
    ("program", "command", "flag", "choices"), CASES, ids=[" ".join(case[:3]) for case in CASES]
)
def test_another_value_is_answered_in_one_line_with_what_is_allowed(
    program, command, flag, choices, capsys
):
    operands = ["run"] if (program, command) == ("esper-overwatch", "wandb") else []
    assert PROGRAMS[program][1]([command, *operands, flag, "purple\x1b"]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "purple" in error
    assert flag in error
    assert "\x1b" not in error
    assert "pydantic" not in error
    assert "validation error" not in error
    assert all(name.lower() in error.lower() for name in choices)
