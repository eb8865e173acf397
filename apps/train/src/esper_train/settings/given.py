"""The settings that a command line gives, by dotted key of ``TrainingConfig``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from esper_leyline import ConfigError, LeylineError, TrainingConfig, override, show_text
from esper_leyline.config.overrides import flatten_config
from esper_leyline.files.json_files import parse_json
from esper_tolaria import find_task
from esper_train.errors import TrainError

KEYS: Mapping[str, str] = {
    "rounds": "n_episodes",
    "episodes": "n_episodes",
    "envs": "n_envs",
    "episode_length": "max_epochs",
    "max_epochs": "max_epochs",
    "ppo_epochs": "ppo.epochs",
    "memory_size": "policy.memory_size",
    "entropy_anneal_episodes": "ppo.entropy_anneal_episodes",
    "task": "task",
    "seed": "seed",
    "slots": "slots",
    "max_seeds": "max_seeds",
    "max_batches": "host.max_batches",
    "min_fossilize_improvement": "heuristic.min_fossilize_improvement",
    "device": "device",
    "devices": "devices",
    "workers": "workers",
    "data_root": "data_root",
    "amp": "amp",
    "amp_dtype": "amp_dtype",
    "num_workers": "feed.num_workers",
    "gpu_preload": "feed.gpu_preload",
    "experimental_gpu_preload_gather": "feed.gpu_preload_gather",
    "compile_mode": "compile.mode",
    "force_compile": "compile.force",
    "checkpoint_every": "checkpoints.every",
    "checkpoint_minutes": "checkpoints.minutes",
    "checkpoint_keep": "checkpoints.keep",
    "telemetry_level": "telemetry.level",
    "telemetry_lifecycle_only": "telemetry.lifecycle_only",
}
"""Fields of the options that set a key of the configuration, and which one."""

RESUMABLE: tuple[str, ...] = (
    "n_episodes",
    "blueprints",
    "device",
    "devices",
    "workers",
    "data_root",
    "feed",
    "compile",
    "checkpoints",
    "telemetry",
    "ppo.epochs",
    "ppo.minibatches",
    "ppo.chunk_length",
    "ppo.clip",
    "ppo.target_kl",
    "ppo.max_grad_norm",
    "ppo.learning_rate",
    "ppo.learning_rate_final",
    "ppo.learning_rate_anneal_episodes",
    "ppo.value_coefficient",
    "ppo.entropy_coefficient",
    "ppo.entropy_final",
    "ppo.entropy_anneal_episodes",
    "ppo.entropy_multipliers",
)
"""What a resumed run may change. A section stands for every key in it.

All else decides what a checkpoint's weights and statistics mean: which hosts and actions
there are, and what is paid for.
"""

MOST_LETTERS = 200
"""Longest key that ``--set`` takes."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user set.

    Attributes:
        values: By dotted key.
        sources: How each key was given, as the user wrote it: ``--rounds``, ``--set seed``.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The task that was asked for; a value that is no name is refused with the others."""
        task = self.values.get("task")
        return task if isinstance(task, str) else None

    def add(self, key: str, value: Any, source: str) -> None:
        """Notes a setting.

        Raises:
            TrainError: If the key, one that holds it or one in it is set already.
        """
        for other in self.sources:
            if f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}."):
                raise TrainError(
                    f"{self.sources[other]} and {source} set the same; give one of them"
                )
        self.values[key] = value
        self.sources[key] = source


def read_given(*options: object) -> Given:
    """Collects the settings among a command's options, those of ``--set`` included.

    Args:
        options: Instances of the classes in ``options``.

    Raises:
        TrainError: If a ``--set`` is not ``KEY=VALUE``, or a key is set twice.
    """
    given = Given()
    for group in options:
        for each in fields(group):  # type: ignore[arg-type] # some options class
            value = getattr(group, each.name)
            if each.name in KEYS and value is not None and value is not False:
                plain = str(value) if isinstance(value, Path) else value
                given.add(KEYS[each.name], plain, flag_of(each.name))
    for group in options:
        for text in getattr(group, "set", None) or ():
            for key, value in _read_setting(text):
                given.add(key, value, f"--set {show_text(key)}")
    return given


def flag_of(name: str) -> str:
    """Returns the flag of a field of the options."""
    return f"--{name.replace('_', '-')}"


def apply(config: TrainingConfig, given: Given) -> TrainingConfig:
    """Returns a configuration with what the user set.

    Raises:
        EsperError: If a value does not fit; names the flag that gave it.
    """
    try:
        if config.host is None and any(key.startswith("host.") for key in given.values):
            task = override(config, {"task": given.values.get("task", config.task)}).task
            config = override(
                config, {"host": find_task(task).spec.training.model_dump(mode="json")}
            )
        return override(config, _nest(given.values))
    except ConfigError as error:
        raise TrainError(_name_flags(str(error), given)) from None


def check_resumable(given: Given) -> None:
    """Checks that a resumed run may change what the user set.

    Raises:
        TrainError: If it may not; names what it may.
    """
    for key, source in given.sources.items():
        if not any(f"{key}.".startswith(f"{allowed}.") for allowed in RESUMABLE):
            raise TrainError(
                f"{source} cannot change with --resume, which goes on with the checkpoint's own "
                f"config; these keys may: {', '.join(RESUMABLE)}"
            )


def describe_changes(
    before: TrainingConfig, after: TrainingConfig, given: Given
) -> tuple[str, ...]:
    """Says in a line each what the user changed of a checkpoint's configuration."""
    old, new = (flatten_config(each.model_dump(mode="json")) for each in (before, after))
    return tuple(
        f"{key}: {old.get(key)} in the checkpoint, {new.get(key)} from here on"
        for key in given.values
        if old.get(key) != new.get(key)
    )


def _read_setting(text: str) -> Iterator[tuple[str, Any]]:
    """Reads ``KEY=VALUE``; an object as the value sets each key in it."""
    key, equals, value = text.partition("=")
    if not equals or not key or len(key) > MOST_LETTERS:
        raise TrainError(
            f"--set '{show_text(text)}' is not KEY=VALUE, such as ppo.learning_rate=0.0001"
        )
    nested = _nest({key: _read_value(key, value)})
    try:
        leaves = flatten_config(nested)
    except ConfigError as error:
        raise TrainError(f"--set {error}") from None
    for name, leaf in leaves.items():
        if leaf == {}:
            raise TrainError(f"--set {show_text(name)} to an empty object changes nothing")
        yield name, leaf


def _read_value(key: str, text: str) -> Any:
    """Reads strict JSON; what is none is a string, unless it begins like a part of JSON."""
    try:
        return parse_json(text)
    except LeylineError as error:
        if text.lstrip().startswith(("{", "[", '"')):
            raise TrainError(f"--set {show_text(key)}: the value {error}") from None
        return text


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return nested


def _name_flags(message: str, given: Given) -> str:
    """Puts flags in the place of keys in an error; ``--set`` is put before it."""
    by_set = False
    for key, source in given.sources.items():
        if source.startswith("--set "):
            by_set = True
            continue
        quoted = re.compile(rf"'{re.escape(key)}(\.\d+)?'")
        if quoted.search(message):
            return quoted.sub(source, message)
    return f"--set: {message}" if by_set else message
