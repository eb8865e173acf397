"""Configurations from files and plain values, strictly, and changes to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, ValidationError

from esper_leyline.config.training import TrainingConfig
from esper_leyline.errors import MOST_SHOWN, ConfigError, LeylineError, show_text
from esper_leyline.files.json_files import read_json

FLAT_KEYS: Mapping[str, tuple[str, str]] = {
    "permissive_gates": ("lifecycle", "permissive_gates"),
    "auto_forward_g1": ("lifecycle", "auto_forward_g1"),
    "auto_forward_g2": ("lifecycle", "auto_forward_g2"),
    "auto_forward_g3": ("lifecycle", "auto_forward_g3"),
    "reward_mode": ("reward", "mode"),
    "reward_family": ("reward", "family"),
    "param_budget": ("reward", "param_budget"),
    "param_penalty_weight": ("reward", "param_penalty_weight"),
    "rent_host_params_floor": ("reward", "rent_host_params_floor"),
    "drip_fraction": ("reward", "drip_fraction"),
    "ppo_epochs": ("ppo", "epochs"),
    "chunk_length": ("ppo", "chunk_length"),
    "entropy_anneal_episodes": ("ppo", "entropy_anneal_episodes"),
    "memory_size": ("policy", "memory_size"),
    "compile_mode": ("compile", "mode"),
    "force_compile": ("compile", "force"),
}
"""Top-level spellings that a config file may use, and the nested key each stands for."""


def parse_config(values: Mapping[str, Any]) -> TrainingConfig:
    """Builds a configuration from plain values, strictly.

    Args:
        values: Nested values as in ``config.json``; the spellings of ``FLAT_KEYS`` are
            also taken at the top level.

    Raises:
        ConfigError: One line that names the key, its value and what is allowed.
    """
    nested = _nest(values)
    try:
        return TrainingConfig.model_validate_json(json.dumps(nested))
    except RecursionError:
        raise ConfigError("the configuration is nested too deep") from None
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def read_config(path: Path) -> TrainingConfig:
    """Reads a JSON configuration file, by the rules of ``read_json``.

    Raises:
        ConfigError: If the file cannot be read, is not JSON, or does not fit.
    """
    try:
        values = read_json(path)
    except LeylineError as error:
        raise ConfigError(f"config '{path}' {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"config '{path}' holds a {type(values).__name__}; write a JSON object")
    try:
        return parse_config(values)
    except ConfigError as error:
        raise ConfigError(f"config '{path}': {error}") from None


def override(config: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Returns a configuration with some values replaced.

    Args:
        config: The configuration to start from.
        changes: New values by key; nested parts as mappings, merged key by key.

    Raises:
        ConfigError: If a changed value does not fit.
    """
    return parse_config(_merge(config.model_dump(mode="json"), _nest(changes)))


def flatten_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a nested mapping by dotted path, such as ``ppo.epochs``.

    Args:
        values: As ``parse_config`` takes them, spellings of ``FLAT_KEYS`` included.

    Raises:
        ConfigError: If a setting is given in both of its spellings.
    """
    return dict(_leaves(_nest(values)))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: value for key, value in values.items() if key not in FLAT_KEYS}
    for flat, (part, key) in FLAT_KEYS.items():
        if flat not in values:
            continue
        given = nested.get(part, {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"'{part}': Input should be an object (given: {_show(given)})")
        inner = dict(given)
        if key in inner:
            raise ConfigError(f"'{flat}' and '{part}.{key}' are the same setting; give one of them")
        inner[key] = values[flat]
        nested[part] = inner
    return nested


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both and isinstance(old, dict) else value
    return merged


def explain_invalid(error: ValidationError) -> str:
    """Words pydantic's first complaint as one line: the key, what is allowed, what was given."""
    first = error.errors(include_url=False)[0]
    path = ".".join(show_text(str(part)) for part in first["loc"])
    reason = show_text(first["msg"].removeprefix("Value error, "), 400)
    if first["type"] == "too_short" and not first["input"]:
        reason = "it is empty; give at least one, or leave it out"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{path}'"
    value = first["input"]
    shown = f" (given: {_show(value)})" if not isinstance(value, dict) else ""
    return f"'{path}': {reason}{shown}" if path else reason


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return _explain_unknown([str(part) for part in first["loc"]])
    return explain_invalid(error)


def _explain_unknown(parts: list[str]) -> str:
    path, parent = ".".join(parts), ".".join(parts[:-1])
    valid = [*_keys(TrainingConfig), *FLAT_KEYS]
    shown = show_text(path)
    if path in valid:
        # Written with dots, where a section is an object of its own.
        section, _, key = path.rpartition(".")
        return f'unknown key \'{shown}\'; write it nested: "{section}": {{"{key}": ...}}'
    # The time of the comparison grows with the square of the length.
    if len(path) <= MOST_SHOWN:
        # The section that holds the unknown key is like it, but no answer.
        others = (key for key in valid if key != parent)
        nearest = max(others, key=lambda key: _likeness(path, key))
        if _likeness(path, nearest)[0] >= 0.6:
            return f"unknown key '{shown}'; the nearest valid key is '{nearest}'"
    siblings = sorted(key for key in valid if key.rpartition(".")[0] == parent)
    return f"unknown key '{shown}'; valid keys: {', '.join(siblings or valid)}"


def _likeness(path: str, key: str) -> tuple[float, float]:
    whole = SequenceMatcher(None, path, key).ratio()
    last = SequenceMatcher(None, path.rpartition(".")[2], key.rpartition(".")[2]).ratio()
    return max(whole, last), whole


def _show(value: object) -> str:
    """Returns a short ``repr`` of a value of any size."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = MOST_SHOWN
    return show_text(short.repr(value), 2 * MOST_SHOWN)


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        parts = (info.annotation, *getattr(info.annotation, "__args__", ()))
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys.extend(_keys(part, f"{prefix}{name}."))
    return keys
