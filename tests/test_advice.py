"""Every flag and every configuration key that a text of Esper names is there.

All string literals of the packages and apps are read but docstrings: errors, warnings, advice,
help and the commands that are printed to be run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from esper_leyline import TrainingConfig, override
from esper_leyline.config.overrides import flatten_config
from esper_overwatch.cli import app as overwatch
from esper_tolaria import find_preset, find_task
from esper_train.cli import app

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("apps/*/src/**/*.py")])
READMES = [
    ROOT / name
    for name in ("README.md", "apps/train/README.md", "packages/esper-leyline/README.md")
]

COMMANDS = ("ppo", "heuristic", "evaluate", "tasks", "config")
PRINTED_BY = {
    "apps/train/src/esper_train/commands/ppo.py": ("ppo",),
    "apps/train/src/esper_train/ppo_run.py": ("ppo",),
    "apps/train/src/esper_train/settings/machine.py": ("ppo",),
    "apps/train/src/esper_train/session.py": ("ppo",),
    "apps/train/src/esper_train/dual/": ("ppo",),
    "apps/train/src/esper_train/commands/heuristic.py": ("heuristic",),
    "apps/train/src/esper_train/evaluation/": ("evaluate",),
    "apps/train/src/esper_train/commands/tasks.py": ("tasks",),
    "apps/train/src/esper_train/commands/config.py": ("config",),
}
"""Commands that a module's texts are printed by; of all others it is any of ``COMMANDS``."""

OTHER_PROGRAMS = {
    "apps/train/src/esper_train/viewer.py": "--lines --parent --plain --since",
    "apps/train/src/esper_train/sanctum.py": "--since --trainer",
    "apps/train/src/esper_train/dual/arm.py": "--group --plain",
    "apps/train/src/esper_train/settings/options.py": "--extra",
    "apps/train/src/esper_train/wandb_reader.py": "--parent --options",
    "packages/esper-leyline/src/esper_leyline/extras.py": "--extra",
    "packages/esper-karn/src/esper_karn/web/guard.py": "--allow-host",
    "apps/train/src/esper_train/dual/training.py": "--group --plain",
    "packages/esper-tolaria/src/esper_tolaria/datasets/tinystories.py": (
        "--extra --include --local-dir --repo-type"
    ),
}
"""Flags of uv, of the Hugging Face client and of Esper's own worker processes."""

COLUMNS = ROOT / "packages/esper-karn/src/esper_karn/analytics"
"""Its texts name the fields of events in queries, which look like keys of a configuration."""

FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
NAMED_COMMAND = re.compile(r"esper-train (\w+)")
FILE_ENDINGS = ("safetensors", "json", "py")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Finds the string literals of a module, an f-string as one with {} for its values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    seen: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            # A docstring; under a field of the options it is the help of a flag.
            if path.name != "options.py":
                seen.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            seen |= {id(part) for part in ast.walk(node)}
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in seen:
            yield node.lineno, str(node.value)


def flags_of(command: str, program: App = app) -> set[str]:
    names = {"--help"}
    for argument in program[command].assemble_argument_collection():
        names |= set(argument.names)
    return names


FLAGS = {command: flags_of(command) for command in COMMANDS}
OVERWATCH_FLAGS = set[str]().union(
    *(flags_of(name, overwatch) for name in overwatch if not name.startswith("-"))
)


def flags_known(path: Path, text: str) -> set[str]:
    """Flags that a text may name: of the command in it, else of those that print it."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("apps/overwatch/"):
        return OVERWATCH_FLAGS | set(OTHER_PROGRAMS.get(name, "").split())
    named = NAMED_COMMAND.search(text)
    if named is not None and named[1] in COMMANDS:
        return FLAGS[named[1]]
    commands = next((by for start, by in PRINTED_BY.items() if name.startswith(start)), COMMANDS)
    known = set().union(*(FLAGS[command] for command in commands))
    return known | set(OTHER_PROGRAMS.get(name, "").split())


@pytest.fixture(scope="module")
def keys() -> set[str]:
    """Every dotted key, and every section."""
    host = find_task("digits").spec.training.model_dump(mode="json")
    whole = override(find_preset("digits"), {"host": host}).model_dump(mode="json")
    leaves = set(flatten_config(whole))
    assert set(TrainingConfig.model_fields) <= {leaf.partition(".")[0] for leaf in leaves}
    parts = {leaf.rsplit(".", count)[0] for leaf in leaves for count in range(leaf.count(".") + 1)}
    return leaves | parts


def unknown_keys(text: str, keys: set[str]) -> list[str]:
    sections = "|".join(sorted({key.partition(".")[0] for key in keys if "." in key}))
    found = re.finditer(rf"(?<![\w./-])(?:{sections})(?:\.[a-z_][a-z0-9_]*)+(?![\w(/])", text)
    names = [match[0] for match in found]
    return [each for each in names if each not in keys and not each.endswith(FILE_ENDINGS)]


def test_every_flag_that_a_text_names_is_there() -> None:
    # The pictures hold style sheets, whose variables look like flags.
    unknown = [
        f"{path.relative_to(ROOT)}:{line} {flag}"
        for path in SOURCES
        for line, text in texts(path)
        for flag in FLAG.findall(text)
        if flag not in flags_known(path, text) and "pictures" not in path.parts
    ]
    assert unknown == []


def test_every_key_that_a_text_names_is_there(keys: set[str]) -> None:
    unknown = [
        f"{path.relative_to(ROOT)}:{line} {key}"
        for path in SOURCES
        if COLUMNS not in path.parents
        for line, text in texts(path)
        for key in unknown_keys(text, keys)
    ]
    assert unknown == []


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_key_that_a_readme_names_is_there(path: Path, keys: set[str]) -> None:
    quoted = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    assert [key for text in quoted for key in unknown_keys(text, keys)] == []


def test_unknown_flags_and_keys_in_texts_are_found(tmp_path: Path, keys: set[str]) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Docs: --nothing."""\nraise Error(f"lower ppo.learn_rate {x}, --roundz")\n'
    )
    ((line, text),) = texts(module)
    assert line == 2
    assert FLAG.findall(text) == ["--roundz"]
    assert unknown_keys(text, keys) == ["ppo.learn_rate"]
    assert "--roundz" not in FLAGS["ppo"]
    assert unknown_keys("policy.safetensors, ppo.clip=0.1 and policy.floors.op", keys) == []
