"""Writes JSON Schemas and TypeScript of view models: ``python -m esper_karn.schemas``.

All are committed: the schemas beside this module, types and names where the page lies. A test
fails when they are not what this command writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from esper_karn.comparison.comparison import RunComparison
from esper_karn.errors import KarnError
from esper_karn.runs.listing import RunsList
from esper_karn.schemas.typescript import TypeScript
from esper_karn.views.condition import Condition
from esper_karn.views.decisions import DecisionsView
from esper_karn.views.frame import HOST, HOST_DECISIONS, VIEWS, Point
from esper_karn.views.host import HostView
from esper_karn.views.moment import Moment
from esper_karn.views.panels import PANELS
from esper_karn.views.stages import STAGE_LETTERS
from esper_leyline.events import SCHEMA_VERSION

SCHEMA_FILE = Path(__file__).with_name("views.json")
"""The committed schemas."""

TYPES_FILE = Path(__file__).parents[5] / "apps" / "overwatch" / "page" / "src" / "types.d.ts"
"""The committed types, in a checkout."""

STAGES_FILE = TYPES_FILE.with_name("stages.ts")
"""The committed letters of stages, in a checkout."""

PANEL_TYPES: Mapping[str, type] = MappingProxyType(
    {
        **{name: panel.type for name, panel in PANELS.items()},
        "moment": Moment,
        "condition": Condition,
    }
)
"""The type of every panel with a fixed name."""

NUMBERED_PANELS: Mapping[str, type] = MappingProxyType(
    {HOST: HostView, HOST_DECISIONS: DecisionsView}
)
"""The type of the panels of one host, by the start of their names."""


def build_schemas() -> dict[str, Any]:
    """Returns the JSON Schemas of all view models as one document with ``$defs``."""
    types = {each.__name__: each for each in (*PANEL_TYPES.values(), *NUMBERED_PANELS.values())}
    types |= {each.__name__: each for each in (RunsList, RunComparison, Point)}
    adapters: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (name, "serialization", TypeAdapter(types[name])) for name in sorted(types)
    ]
    found, document = TypeAdapter.json_schemas(adapters)
    definitions: dict[str, Any] = dict(document.get("$defs", {}))
    for (name, _), schema in found.items():
        if schema != {"$ref": f"#/$defs/{name}"}:
            definitions[name] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "x-esper-schema-version": SCHEMA_VERSION,
        "$defs": dict(sorted(definitions.items())),
    }


def build_types(schemas: Mapping[str, Any]) -> str:
    """Returns the TypeScript types of the view models and of frames."""
    script = TypeScript()
    parts = [_HEAD, *(script.declare(name, each) for name, each in schemas["$defs"].items())]
    fixed = [f"  {name}: {each.__name__};" for name, each in PANEL_TYPES.items()]
    numbered = [
        f"  [name: `{start}${{number}}`]: {each.__name__};"
        for start, each in NUMBERED_PANELS.items()
    ]
    views = " | ".join([*(f'"{name}"' for name in VIEWS), f"`{HOST}${{number}}`"])
    panels = "\n".join([*fixed, *numbered])
    parts += [
        f"/** The panels of frames by name. */\nexport interface Panels {{\n{panels}\n}}",
        f"/** The names of views. */\nexport type ViewName = {views};",
        _FRAME,
    ]
    return "\n\n".join(parts) + "\n"


def build_stages() -> str:
    """Returns the letters of stages as TypeScript."""
    letters = "\n".join(f"  {stage}: '{letter}'," for stage, letter in STAGE_LETTERS.items())
    return f"{_STAGES}\n{letters}\n}}\n"


def main(arguments: list[str]) -> int:
    """Writes all files to the folder given, or to their places in the checkout."""
    schemas = build_schemas()
    try:
        texts = (json.dumps(schemas, indent=1) + "\n", build_types(schemas), build_stages())
        for path, text in zip(_targets(arguments), texts, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.name}\n")
    except (KarnError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _targets(arguments: list[str]) -> tuple[Path, ...]:
    files = (SCHEMA_FILE, TYPES_FILE, STAGES_FILE)
    if arguments:
        return tuple(Path(arguments[0]) / file.name for file in files)
    if not TYPES_FILE.parents[2].is_dir():
        raise KarnError(
            "types are written in a checkout, and this package is installed without one; name a "
            "folder to write them to"
        )
    return files


_HEAD = """\
// Made by `python -m esper_karn.schemas` from Karn's view models. Do not edit."""

_STAGES = """\
// Made by `python -m esper_karn.schemas` from Karn's view models. Do not edit.

/** One letter for each stage, so that colour is never alone. */
export const STAGE_LETTERS: Readonly<Record<string, string>> = {"""

_FRAME = """\
/** A panel, and the sequence number of the event that changed it last. */
export interface PanelFrame<Value> {
  at: number;
  value: Value;
}

/** The buckets of a series from index `start` on; those before it are unchanged. */
export interface SeriesFrame {
  start: number;
  buckets: Point[];
}

/** What changed of a view after the event `from`; with -1 the whole view. */
export interface Frame {
  stream: string;
  from: number;
  to: number;
  panels: { [Name in keyof Panels]?: PanelFrame<Panels[Name]> };
  series: { [name: string]: SeriesFrame };
}"""
