"""The settings of a command line, by dotted key of ``TrainingConfig``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from esper_leyline import ConfigError, LeylineError, show_text
from esper_leyline.config.overrides import flatten_config
from esper_leyline.files.json_files import parse_json
from esper_leyline.numbers import parse_number
from esper_train.errors import TrainError
from esper_train.settings.flags import settings

MOST_LETTERS = 200
"""Maximum length of a key of ``--set``."""


@dataclass(frozen=True, slots=True)
class Given:
    """The settings that the user gave.

    Attributes:
        values: By dotted key.
        sources: How each key was given, as the user wrote it: ``--rounds``, ``--set seed``.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The task, if it is a name; other values are refused with the configuration."""
        task = self.values.get("task")
        return task if isinstance(task, str) else None

    def add(self, key: str, value: Any, source: str) -> None:
        """Adds a setting.

        Raises:
            TrainError: If the key, a section of it or a key in it is set already.
        """
        for other in self.sources:
            if f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}."):
                raise TrainError(
                    f"{self.sources[other]} and {source} are the same setting; give one of them"
                )
        self.values[key] = value
        self.sources[key] = source


def read_given(*options: object) -> Given:
    """Collects the settings among a command's options, those of ``--set`` included.

    Args:
        options: Instances of the classes in ``settings.options``.

    Raises:
        TrainError: If a ``--set`` is not ``KEY=VALUE``, or a key is set twice.
    """
    given = Given()
    for group in options:
        for each in fields(group):  # type: ignore[arg-type] # some options class
            value = getattr(group, each.name)
            key, flag = each.metadata.get("key"), f"--{each.name.replace('_', '-')}"
            if key is None or value is None:
                continue
            if isinstance(settings()[key].default, Mapping):
                for name, number in _read_numbers(flag, value):
                    given.add(f"{key}.{name}", number, f"{flag} {show_text(name)}")
            else:
                given.add(key, str(value) if isinstance(value, Path) else value, flag)
    for group in options:
        for text in getattr(group, "set", None) or ():
            for key, value in _read_setting(text):
                given.add(key, value, f"--set {show_text(key)}")
    return given


def _read_numbers(flag: str, texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Reads ``NAME=NUMBER`` texts."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or "." in name:
            raise TrainError(f"{flag} '{show_text(text)}' is not NAME=NUMBER, such as op=0.5")
        try:
            yield name, parse_number(value)
        except ValueError as error:
            raise TrainError(f"{flag} {show_text(name)}: {error}") from None


def _read_setting(text: str) -> Iterator[tuple[str, Any]]:
    """Reads ``KEY=VALUE``; an object as the value sets each key in it."""
    key, equals, value = text.partition("=")
    if not equals or not key or len(key) > MOST_LETTERS:
        raise TrainError(
            f"--set '{show_text(text)}' is not KEY=VALUE, such as ppo.learning_rate=0.0001"
        )
    nested = nest_keys({key: _read_value(key, value)})
    try:
        leaves = flatten_config(nested)
    except ConfigError as error:
        raise TrainError(f"--set {error}") from None
    for name, leaf in leaves.items():
        if leaf == {}:
            raise TrainError(f"--set {show_text(name)} to an empty object changes nothing")
        yield name, leaf


def _read_value(key: str, text: str) -> Any:
    """Reads strict JSON; other text is a string, unless it begins like JSON."""
    try:
        return parse_json(text)
    except LeylineError as error:
        if text.lstrip().startswith(("{", "[", '"')):
            raise TrainError(f"--set {show_text(key)}: the value {error}") from None
        return text


def nest_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values by dotted key as nested dicts."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested
