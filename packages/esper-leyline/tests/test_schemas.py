"""Committed JSON Schemas: current, true of what contracts write, and versioned."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from esper_leyline import LeylineError
from esper_leyline.events import SCHEMA_VERSION, Event, encode_event
from esper_leyline.schemas import export as schemas
from esper_leyline.schemas.export import (
    CHANGELOG,
    CONTRACTS,
    SCHEMA_DIRECTORY,
    build_schemas,
    main,
    read_records,
    record_schemas,
    schema_digest,
)

UNRELEASED = "# Changelog\n\n## 0.2.0 (unreleased)\n\n## 0.1.0\n"
RELEASED = "# Changelog\n\n## 0.2.0\n\n## 0.1.0\n"


def test_the_committed_schemas_are_those_of_the_contracts():
    committed = {path.name: path for path in SCHEMA_DIRECTORY.glob("*.json")}
    assert set(committed) == {f"{name}.json" for name in CONTRACTS} | {"versions.json"}
    for name, schema in build_schemas().items():
        assert json.loads(committed[f"{name}.json"].read_text(encoding="utf-8")) == schema, (
            f"{name}.json is out of date; run: python -m esper_leyline.schemas"
        )


def test_the_contracts_are_those_recorded_for_their_schema_version():
    recorded = read_records(SCHEMA_DIRECTORY)[str(SCHEMA_VERSION)]["digest"]
    assert schema_digest(build_schemas()) == recorded, (
        f"the contracts changed under schema version {SCHEMA_VERSION}: raise SCHEMA_VERSION in "
        "esper_leyline.events, then run: python -m esper_leyline.schemas"
    )


def test_versions_are_recorded_without_gaps_and_the_older_ones_are_final():
    records = read_records(SCHEMA_DIRECTORY)
    assert sorted(int(version) for version in records) == list(range(1, SCHEMA_VERSION + 1))
    assert {version: record["digest"] for version, record in records.items()} == {
        "1": "7bcca5688fa3a0e89bb8713256306d2beed6a3afb56098650fadaefd496d8430",
        "2": "7de9a10b27fae5017cab956676273c31167e01c80e83e240c8e57d6041ab187b",
        str(SCHEMA_VERSION): schema_digest(build_schemas()),
    }


def test_the_changelog_begins_with_the_package_version():
    project = tomllib.loads((CHANGELOG.parent / "pyproject.toml").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)
    assert newest[1] == project["project"]["version"]


@pytest.fixture
def changed_contract(tmp_path, monkeypatch):
    """A folder of recorded schemas and a changelog, after which a contract was changed."""
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(UNRELEASED, encoding="utf-8")
    record_schemas(tmp_path, changelog)
    monkeypatch.setattr(schemas, "CONTRACTS", {**CONTRACTS, "event": int})
    return tmp_path, changelog


def test_a_released_version_is_not_rewritten(changed_contract):
    directory, changelog = changed_contract
    before = {path: path.read_bytes() for path in directory.iterdir()}
    changelog.write_text(RELEASED, encoding="utf-8")
    with pytest.raises(LeylineError, match=r"released with esper-leyline 0\.2\.0; raise"):
        record_schemas(directory, changelog)
    before[changelog] = RELEASED.encode()
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_an_unreleased_version_is_rewritten(changed_contract):
    directory, changelog = changed_contract
    record_schemas(directory, changelog)
    assert read_records(directory) == {
        str(SCHEMA_VERSION): {"package": "0.2.0", "digest": schema_digest(build_schemas())}
    }


def test_a_new_version_is_recorded_beside_the_released_ones(changed_contract, monkeypatch):
    directory, changelog = changed_contract
    changelog.write_text("## 0.3.0 (unreleased)\n## 0.2.0\n", encoding="utf-8")
    released = read_records(directory)[str(SCHEMA_VERSION)]
    monkeypatch.setattr(schemas, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    record_schemas(directory, changelog)
    records = read_records(directory)
    assert records[str(SCHEMA_VERSION)] == released
    assert records[str(SCHEMA_VERSION + 1)]["package"] == "0.3.0"


def test_a_new_version_needs_a_package_version_to_carry_it(changed_contract, monkeypatch):
    directory, changelog = changed_contract
    changelog.write_text(RELEASED, encoding="utf-8")
    monkeypatch.setattr(schemas, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(LeylineError, match="no unreleased version to carry the changed contracts"):
        record_schemas(directory, changelog)


def test_prose_is_not_part_of_a_version():
    schema = {"properties": {"description": {"type": "string"}}, "type": "object"}
    described = {**schema, "description": "A thing.", "title": "Thing"}
    assert schema_digest(schema) == schema_digest(described)
    assert schema_digest(schema) != schema_digest({"properties": {}, "type": "object"})


def test_the_command_exports_to_any_folder(tmp_path, capsys):
    assert main([str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.split() == [f"{name}.json" for name in CONTRACTS]
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(CONTRACTS)


def test_the_command_prints_its_error_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(schemas, "CHANGELOG", tmp_path / "none.md")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("error: schemas are recorded in a checkout")


@pytest.mark.parametrize("name", CONTRACTS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # shrinking a whole config takes minutes
)
@given(data=st.data())
def test_a_serialized_contract_is_valid_under_its_committed_schema(name, contracts, data):
    path = Path(SCHEMA_DIRECTORY / f"{name}.json")
    schema = json.loads(path.read_text(encoding="utf-8"))
    drawn = data.draw(contracts(CONTRACTS[name]))
    written = TypeAdapter(CONTRACTS[name]).dump_json(drawn)
    assert _valid(json.loads(written), schema, schema.get("$defs", {}))
    if isinstance(drawn, Event):
        assert _valid(json.loads(encode_event(drawn)), schema, schema["$defs"])


def test_the_check_itself_refuses_what_a_schema_does_not_allow():
    schema = build_schemas()["seed_command"]
    valid = {"slot": "r0c0", "command": {"kind": "advance"}}
    assert _valid(valid, schema, schema["$defs"])
    for bad in (
        {"slot": "r0c0"},
        {**valid, "more": 1},
        {**valid, "slot": 3},
        {**valid, "command": {"kind": "advanced"}},
        {**valid, "command": {"kind": "prune", "ticks": "3"}},
    ):
        assert not _valid(bad, schema, schema["$defs"])


_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_ANNOTATIONS = {"title", "description", "default", "discriminator", "$defs", "$schema"} | {
    "x-esper-schema-version"
}
_NUMBER = (int, float)
_RULES = {
    "type": (object, lambda v, s, d: _is(v, s)),
    "enum": (object, lambda v, s, d: v in s),
    "const": (object, lambda v, s, d: v == s),
    "pattern": (str, lambda v, s, d: re.search(s, v) is not None),
    "minimum": (_NUMBER, lambda v, s, d: v >= s),
    "maximum": (_NUMBER, lambda v, s, d: v <= s),
    "exclusiveMinimum": (_NUMBER, lambda v, s, d: v > s),
    "exclusiveMaximum": (_NUMBER, lambda v, s, d: v < s),
    "minLength": (str, lambda v, s, d: len(v) >= s),
    "maxLength": (str, lambda v, s, d: len(v) <= s),
    "maxProperties": (dict, lambda v, s, d: len(v) <= s),
    "propertyNames": (dict, lambda v, s, d: all(_valid(key, s, d) for key in v)),
    "minItems": (list, lambda v, s, d: len(v) >= s),
    "maxItems": (list, lambda v, s, d: len(v) <= s),
    "items": (list, lambda v, s, d: all(_valid(item, s, d) for item in v)),
    "prefixItems": (
        list,
        lambda v, s, d: all(_valid(item, part, d) for item, part in zip(v, s, strict=False)),
    ),
    "required": (dict, lambda v, s, d: set(s) <= set(v)),
    "properties": (dict, lambda v, s, d: all(_valid(v[k], s[k], d) for k in set(s) & set(v))),
    "anyOf": (object, lambda v, s, d: any(_valid(v, option, d) for option in s)),
    "oneOf": (object, lambda v, s, d: sum(_valid(v, option, d) for option in s) == 1),
    "$ref": (object, lambda v, s, d: _valid(v, d[s.removeprefix("#/$defs/")], d)),
}


def _valid(value, schema, definitions):
    """Checks the keywords of JSON Schema that pydantic writes for our contracts."""
    rest = {key: rule for key, rule in schema.items() if key not in _ANNOTATIONS}
    extra = rest.pop("additionalProperties", True)
    if isinstance(value, dict) and extra is not True:
        others = [v for k, v in value.items() if k not in schema.get("properties", {})]
        if extra is False and others:
            return False
        if extra is not False and not all(_valid(v, extra, definitions) for v in others):
            return False
    return all(
        check(value, rest[key], definitions)
        for key, (kind, check) in ((key, _RULES[key]) for key in rest)
        if isinstance(value, kind)
    )


def _is(value, name):
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
