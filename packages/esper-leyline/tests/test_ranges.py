"""Every setting has a stated range: numbers two bounds, texts and arrays a longest size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from esper_leyline import (
    CheckpointManifest,
    CNNHostSpec,
    ConfigError,
    DataSpec,
    HostTraining,
    LifecycleRules,
    MLPHostSpec,
    TaskSpec,
    TrainingConfig,
    TransformerHostSpec,
    parse_config,
)

MODELS = (
    CheckpointManifest,
    CNNHostSpec,
    DataSpec,
    HostTraining,
    LifecycleRules,
    MLPHostSpec,
    TaskSpec,
    TrainingConfig,
    TransformerHostSpec,
)
LOWER, UPPER = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Yields the places of a JSON schema that accept values of any size."""
    if isinstance(schema, list):
        for part in schema:
            yield from unbounded(part, path)
        return
    if not isinstance(schema, dict):
        return
    kind, closed = schema.get("type"), "enum" in schema or "const" in schema
    if (
        kind in ("integer", "number")
        and not closed
        and not (schema.keys() & LOWER and schema.keys() & UPPER)
    ):
        yield f"{path}: a number without two bounds"
    if kind == "string" and not closed and "maxLength" not in schema and "pattern" not in schema:
        yield f"{path}: a text of any length"
    if kind == "array" and "maxItems" not in schema:
        yield f"{path}: an array of any length"
    if (
        kind == "object"
        and schema.get("additionalProperties") is not False
        and "maxProperties" not in schema
    ):
        yield f"{path}: an object of any size"
    for key, part in schema.items():
        if key not in ("default", "enum", "const"):
            yield from unbounded(part, f"{path}.{key}")


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_has_a_stated_range(model):
    assert list(unbounded(TypeAdapter(model).json_schema())) == []


def test_a_setting_without_a_range_is_found():
    schema = {"properties": {"size": {"type": "integer", "minimum": 1}, "name": {"type": "string"}}}
    assert list(unbounded(schema)) == [
        ".properties.size: a number without two bounds",
        ".properties.name: a text of any length",
    ]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"n_envs": 10**9}, "'n_envs': Input should be less than or equal to 1024"),
        (
            {"memory_size": 10**9},
            "'policy.memory_size': Input should be less than or equal to 4096",
        ),
        ({"policy": {"feature_size": 10**9}}, "'policy.feature_size': Input should be less than"),
        ({"n_envs": "2"}, "'n_envs': Input should be a valid integer (given: '2')"),
        ({"n_envs": 2.0}, "'n_envs': Input should be a valid integer (given: 2.0)"),
        ({"n_envs": True}, "'n_envs': Input should be a valid integer (given: True)"),
        ({"ppo": {"gamma": "0.9"}}, "'ppo.gamma': Input should be a valid number (given: '0.9')"),
        ({"amp": 1}, "'amp': Input should be a valid boolean (given: 1)"),
        ({"amp": "yes"}, "'amp': Input should be a valid boolean (given: 'yes')"),
        ({"slots": []}, "'slots': it is empty; give at least one, or leave it out"),
        ({"slots": ["r0c" + "1" * 5000]}, "'slots.0': String should match pattern"),
        ({"data_root": "a\0b"}, "'data_root': String should match pattern"),
        ({"data_root": ""}, "'data_root': "),
        ({"ppo": 0, "ppo_epochs": 3}, "'ppo': Input should be an object (given: 0)"),
        ({"x" * 100_000: 1}, "(100000 characters)"),
        ({"ppo": {"a\n\x1b[31m": 1}}, "unknown key 'ppo.a\\n\\x1b[31m'"),
        ({"task": "m" * 100_000}, "'task': String should have at most 128 characters"),
    ],
)
def test_a_value_out_of_range_or_of_another_type_is_one_short_line(written, says):
    with pytest.raises(ConfigError) as caught:
        parse_config(written)
    message = str(caught.value)
    assert says in message
    assert message.isprintable()
    assert len(message) < 2000


def test_a_host_of_a_million_layers_is_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1024"):
        TransformerHostSpec(vocabulary=9, width=8, heads=2, layers=10**6, block=8)


def test_an_integer_in_place_of_a_float_is_one():
    assert parse_config({"ppo": {"gamma": 1}}).ppo.gamma == 1.0
