"""Writes ``cli.md``, ``configuration.md`` and ``views.md``.

They are made from the command line, the configuration models and the views of SQL queries:

    uv run python docs/generate.py

A test compares them with what is in the repository.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Literal, get_args, get_origin

from cyclopts.argument import Argument
from pydantic import BaseModel

from esper_karn.analytics.database import open_runs
from esper_karn.analytics.views import VIEWS
from esper_leyline import TrainingConfig
from esper_leyline.config.overrides import flatten_config
from esper_tolaria import find_preset, preset_names
from esper_train.cli import app
from esper_train.settings.flags import SET_BY_PRESETS, Setting, settings, show_default
from esper_train.settings.options import HEURISTIC_FLAGS, PPO_FLAGS
from esper_train.settings.resume import RESUMABLE

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; edit the models, options and views instead. -->"
COMMANDS = ("ppo", "heuristic", "evaluate", "tasks", "config")

CLI = f"""{NOTE}

# Command line of esper-train

`esper-train COMMAND --help` prints the same. Every setting of the
[configuration](configuration.md) is a flag of `ppo`, named like its key with dashes: `ppo.clip` is
`--ppo-clip`. A few have shorter names. `--set KEY=VALUE` sets the same by key, also to `null`. A
flag and its key are one setting and are given once.

| Exit code | Meaning |
|---|---|
| 0 | completed |
| 1 | a run failed; the checkpoint of its complete rounds and the command that resumes it are \
printed. Also if the output of `tasks`, `config` or `--help` cannot be written |
| 2 | a mistake on the command line; one line says what is wrong and what is allowed; nothing was \
created |
| 128 + n | stopped by signal n: 130 for Ctrl-C (SIGINT), 143 for SIGTERM, 129 for SIGHUP |

SIGINT, SIGTERM, SIGHUP (a closed terminal), SIGQUIT, SIGUSR1, SIGUSR2 and SIGXCPU stop a run
cleanly: it writes a checkpoint and its summary, and prints the command that resumes it. A second
signal interrupts the current step; no complete round is lost. A run that is killed (`kill -9`)
loses at most what it learned since the last checkpoint: two minutes and one round by default.
"""

CONFIGURATION = f"""{NOTE}

# Configuration

A run is configured by one model, `esper_leyline.TrainingConfig`, with one part for each component.
Values come from, in this order:

1. the defaults below,
2. a preset (`--preset`, or the one named like `--task`) or a file (`--config-json`),
3. the task, for `slots` and `host` where they are not set,
4. flags and `--set KEY=VALUE`.

`esper-train config` takes the flags of `esper-train ppo` and prints every value and where it comes
from; `esper-train config --json > run.json` writes a file for `--config-json`. Files are strict
JSON: unknown keys are errors. Values that are marked with * may change on `--resume`.
"""

SQL_VIEWS = f"""{NOTE}

# Views of esper-overwatch sql

`esper-overwatch sql "SELECT ..."` answers queries over these views
([Analysis](analysis.md#sql)), and `esper-overwatch export` writes them to files. `run` is the name
of the run directory; `round`, `environment` and `epoch` say where an event belongs; `sequence` is
its number in the log, and `time` when it was written. What was not measured is `NULL`.
"""


def cli_page() -> str:
    """Returns the reference of the commands."""
    parts = [CLI]
    for command in COMMANDS:
        parts.append(f"## `esper-train {command}`\n\n{(app[command].help or '').strip()}\n")
        if command == "config":
            parts.append("It takes all flags of [`esper-train ppo`](#esper-train-ppo), and:\n")
        known = {each.name for each in arguments("ppo")} if command == "config" else set()
        groups: dict[str, list[Argument]] = {}
        order: dict[str, tuple[int, ...]] = {}
        for argument in arguments(command):
            if argument.name in known:
                continue
            (group,) = argument.parameter.group  # type: ignore[misc, union-attr]
            groups.setdefault(group.name, []).append(argument)
            order[group.name] = (group.sort_key or 0,)
        for name in sorted(groups, key=order.__getitem__):
            rows = [_flag_row(argument) for argument in groups[name]]
            parts.append(f"### {name}\n\n{_table(('Flag', 'Values', 'Description'), rows)}")
    return "\n".join(parts)


def arguments(command: str) -> Iterator[Argument]:
    """Yields the flags of a command."""
    for argument in app[command].assemble_argument_collection(parse_docstring=True):
        if argument.name.startswith("--") and argument.show:
            yield argument


def _flag_row(argument: Argument) -> tuple[str, str, str]:
    names = " ".join(f"`{name}`" for name in argument.names)
    text = " ".join((argument.parameter.help or argument.field_info.help or "").split())
    default = argument.field_info.default
    if default not in (None, False, (), argument.field_info.empty) and "Default:" not in text:
        text += f" Default: {default}."
    return names, _values(argument.hint), text


def _values(hint: object) -> str:
    """Returns the values that a flag takes, in words."""
    if get_origin(hint) is tuple:
        return f"{_values(get_args(hint)[0])} …"
    kinds = [each for each in get_args(hint) if each is not NoneType] or [hint]
    if get_origin(hint) is Literal:
        kinds = [hint]
    (kind,) = kinds if get_origin(hint) is not list else [hint]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if get_origin(kind) is list:
        return f"{_values(get_args(kind)[0])} …"
    return {bool: "", int: "integer", float: "number", str: "text", Path: "path"}[kind]  # type: ignore[index]


def configuration_page() -> str:
    """Returns the reference of the configuration."""
    parts = [CONFIGURATION, "## Run\n", _settings_table("")]
    for name, info in TrainingConfig.model_fields.items():
        models = [
            each
            for each in (info.annotation, *get_args(info.annotation))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        for model in models:
            summary = (model.__doc__ or "").strip().splitlines()[0].replace("``", "`")
            parts.append(f"## `{name}`\n\n{summary}\n")
            parts.append(_settings_table(name))
    parts.append("## Presets\n\nEach preset sets these keys; all others keep their defaults.\n")
    parts += _preset_lines()
    return "\n".join(parts) + "\n"


def views_page() -> str:
    """Returns the reference of the views that queries see."""
    parts = [SQL_VIEWS]
    with TemporaryDirectory() as folder, open_runs((), Path(folder)) as database:
        for view, columns in database.schema().items():
            listed = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
            parts.append(f"## `{view}`\n\nOne row is {VIEWS[view].about}.\n\n{listed}\n")
    return "\n".join(parts)


def _preset_lines() -> Iterator[str]:
    """Yields a line for each preset; equal ones are listed once."""
    listed: dict[str, str] = {}
    for name in preset_names():
        found = flatten_config(find_preset(name).model_dump(mode="json", exclude_unset=True))
        task = found.pop("task", TrainingConfig().task)
        keys = ", ".join(f"`{key}={_plain(value)}`" for key, value in found.items())
        if keys in listed:
            keys = f"as `{listed[keys]}`" if keys else ""
        else:
            listed[keys] = name
        yield f"- **`{name}`**: `task={task}`{', ' * bool(keys)}{keys}"


def _settings_table(section: str) -> str:
    chosen = [
        each
        for each in settings().values()
        if (each.key.startswith(f"{section}.") if section else "." not in each.key)
    ]
    head = ("Key", "Flag", "Values", "Default", "Description")
    return _table(head, [_setting_row(each) for each in chosen])


def _setting_row(setting: Setting) -> tuple[str, ...]:
    resumable = any(f"{setting.key}.".startswith(f"{key}.") for key in RESUMABLE)
    flag = _flag(setting.key)
    default = "none" if setting.default in (None, (), {}) else f"`{show_default(setting)}`"
    if setting.key in SET_BY_PRESETS:
        default += " (presets)"
    return (
        f"`{setting.key}`{' *' if resumable else ''}",
        f"`{flag}`",
        setting.range or _kind(setting),
        default,
        setting.description,
    )


def _flag(key: str) -> str:
    """Returns the flag of a key in ``ppo`` or, if it has another name there, both."""
    names = [
        f"--{each.name.replace('_', '-')}"
        for made in (PPO_FLAGS, HEURISTIC_FLAGS)
        for each in made.__dataclass_fields__.values()
        if each.metadata["key"] == key
    ]
    return "` `".join(dict.fromkeys(names))


def _kind(setting: Setting) -> str:
    kind = setting.kind
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if get_origin(kind) is dict:
        return "numbers by name"
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return _values(inner) + " …" if get_origin(inner) is Literal else "texts"
    return {bool: "on, off", str: "text"}.get(kind, "number")


def _plain(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


PAGES = {"cli.md": cli_page, "configuration.md": configuration_page, "views.md": views_page}


def main() -> int:
    """Writes every page."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
