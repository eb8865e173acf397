"""Turns JSON Schemas of frozen dataclasses into TypeScript declarations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from esper_karn.errors import KarnError

Schema = Mapping[str, Any]

_MEASURED = ({"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]})
"""The parts of the schema of ``esper_leyline.wire.Float``."""

_MEASURED_TYPE = """\
/** A measurement: NaN and infinities are words. */
export type Measured = number | "NaN" | "Infinity" | "-Infinity";"""

_PLAIN = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*\Z", re.ASCII)


class TypeScript:
    """Writes declarations; the first one brings the types that the others share."""

    def __init__(self) -> None:
        self._shared = _MEASURED_TYPE + "\n\n"

    def declare(self, name: str, schema: Schema) -> str:
        """Returns the declaration of one named schema.

        Raises:
            KarnError: If the schema has a form that is not known.
        """
        shared, self._shared = self._shared, ""
        prose = str(schema.get("description", "")).partition("\n")[0]
        prose = prose.replace("``None``", "`null`").replace("``", "`")
        comment = f"/** {prose} */\n" if prose else ""
        if schema.get("type") == "object" and "properties" in schema:
            fields = "\n".join(self._field(schema, each) for each in schema["properties"])
            return f"{shared}{comment}export interface {name} {{\n{fields}\n}}"
        return f"{shared}{comment}export type {name} = {self.type(schema)};"

    def type(self, schema: Schema) -> str:
        """Returns the type of a schema.

        Raises:
            KarnError: If the schema has a form that is not known.
        """
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "anyOf" in schema:
            return self._union(schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return " | ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
        return self._typed(schema)

    def _union(self, schemas: Sequence[Schema]) -> str:
        types = [self.type(each) for each in schemas if each not in _MEASURED]
        measured = all(each in schemas for each in _MEASURED)
        if not measured:
            types = [self.type(each) for each in schemas]
        return " | ".join(dict.fromkeys(["Measured", *types] if measured else types))

    def _typed(self, schema: Schema) -> str:
        kind = schema.get("type")
        if not schema:
            return "unknown"
        if kind in _PLAIN:
            return _PLAIN[str(kind)]
        if kind == "array" and "prefixItems" in schema:
            parts = [
                f"{each['title'].lower().replace(' ', '_')}: {self.type(each)}"
                if "title" in each
                else self.type(each)
                for each in schema["prefixItems"]
            ]
            return f"[{', '.join(parts)}]"
        if kind == "array" and "items" in schema:
            item = self.type(schema["items"])
            several = {"anyOf", "enum"} & set(schema["items"]) and " | " in item
            return f"({item})[]" if several else f"{item}[]"
        if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
            return f"{{ [name: string]: {self.type(schema['additionalProperties'])} }}"
        raise KarnError(f"no TypeScript type for the schema {json.dumps(schema)[:200]}")

    def _field(self, schema: Schema, name: str) -> str:
        key = name if _IDENTIFIER.match(name) else json.dumps(name)
        return f"  {key}: {self.type(schema['properties'][name])};"
