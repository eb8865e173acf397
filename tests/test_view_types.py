"""The types of the page are those of Karn's view models."""

from __future__ import annotations

import json

import pytest

from esper_karn import KarnError
from esper_karn.schemas.export import (
    NUMBERED_PANELS,
    PANEL_TYPES,
    SCHEMA_FILE,
    STAGES_FILE,
    TYPES_FILE,
    build_schemas,
    build_types,
    main,
)
from esper_karn.schemas.typescript import TypeScript
from esper_karn.views.panels import PANELS
from esper_karn.views.stages import STAGE_LETTERS
from esper_leyline import SeedStage

COMMAND = "run uv run --no-sync python -m esper_karn.schemas"


def test_the_committed_schemas_and_types_are_those_of_the_view_models(tmp_path):
    assert main([str(tmp_path)]) == 0
    for committed in (SCHEMA_FILE, TYPES_FILE, STAGES_FILE):
        written = (tmp_path / committed.name).read_text(encoding="utf-8")
        assert written == committed.read_text(encoding="utf-8"), COMMAND


def test_every_stage_has_a_letter():
    assert set(STAGE_LETTERS) == {stage.name for stage in SeedStage} - {"UNKNOWN"}


def test_every_panel_has_a_type():
    types = build_types(build_schemas())
    for name, panel in PANEL_TYPES.items():
        assert f"  {name}: {panel.__name__};" in types
        assert f"export interface {panel.__name__} {{" in types
    assert set(PANELS) < set(PANEL_TYPES)
    assert all(f"`{start}${{number}}`" in types for start in NUMBERED_PANELS)


def test_a_changed_view_model_changes_the_types():
    schemas = build_schemas()
    schemas["$defs"]["Header"]["properties"]["share"] = {"type": "string"}
    assert build_types(schemas) != build_types(build_schemas())


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number | null"),
        ({"type": "array", "items": {"$ref": "#/$defs/Card"}}, "Card[]"),
        (
            {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
            "(number | null)[]",
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
            "[number, string]",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "boolean"}},
            "{ [name: string]: boolean }",
        ),
        ({"enum": ["a", "b"], "type": "string"}, '"a" | "b"'),
        ({"type": "array", "items": {}}, "unknown[]"),
        (
            {
                "anyOf": [
                    {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
                    {"type": "null"},
                ]
            },
            "Measured | null",
        ),
    ],
)
def test_schemas_have_their_types(schema, expected):
    assert TypeScript().type(schema) == expected


def test_a_schema_of_an_unknown_form_is_refused():
    with pytest.raises(KarnError, match="no TypeScript type for the schema"):
        TypeScript().type({"not": {}})


def test_schemas_are_one_document_without_open_references():
    document = build_schemas()
    text = json.dumps(document)
    names = {part.partition('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names <= set(document["$defs"])
