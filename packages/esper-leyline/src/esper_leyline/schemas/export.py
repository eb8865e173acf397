"""Exports the JSON Schemas of the public contracts: ``python -m esper_leyline.schemas``.

The schemas are committed inside the package together with ``versions.json``, which
records a digest of them for every ``SCHEMA_VERSION`` there has been. The digest of a
version that was released is final: a later change needs a new version.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from esper_leyline.actions import FactoredAction
from esper_leyline.checkpoint import CheckpointManifest
from esper_leyline.commands import SeedCommand
from esper_leyline.config.training import TrainingConfig
from esper_leyline.errors import LeylineError
from esper_leyline.events import SCHEMA_VERSION, Event
from esper_leyline.lifecycle.gates import GateResult, LifecycleRules, SeedEvidence
from esper_leyline.lifecycle.machine import SeedState
from esper_leyline.reports import EvaluationReport, RewardBreakdown, SeedReport, StepReport
from esper_leyline.specs.tasks import DataSpec, TaskSpec
from esper_leyline.summary import RunSummary

CONTRACTS: Mapping[str, Any] = MappingProxyType(
    {
        "checkpoint_manifest": CheckpointManifest,
        "data_spec": DataSpec,
        "evaluation_report": EvaluationReport,
        "event": Event,
        "factored_action": FactoredAction,
        "gate_result": GateResult,
        "lifecycle_rules": LifecycleRules,
        "reward_breakdown": RewardBreakdown,
        "run_summary": RunSummary,
        "seed_command": SeedCommand,
        "seed_evidence": SeedEvidence,
        "seed_report": SeedReport,
        "seed_state": SeedState,
        "step_report": StepReport,
        "task_spec": TaskSpec,
        "training_config": TrainingConfig,
    }
)
"""Every contract that travels between processes or to disk, by the name of its schema."""

SCHEMA_DIRECTORY = Path(__file__).parent
"""Where the committed schemas lie: beside this module."""

CHANGELOG = Path(__file__).parents[3] / "CHANGELOG.md"
"""The changelog beside a checkout's sources; an installed package has none."""

_RECORDS = "versions.json"
_PROSE = frozenset({"title", "description"})


def build_schemas() -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of each contract, marked with the schema version."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "x-esper-schema-version": SCHEMA_VERSION,
            **TypeAdapter(contract).json_schema(mode="serialization"),
        }
        for name, contract in CONTRACTS.items()
    }


def schema_digest(schemas: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of what schemas accept; titles and descriptions do not count."""
    shape = json.dumps(_without_prose(schemas), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(shape.encode()).hexdigest()


def read_records(directory: Path) -> dict[str, dict[str, str]]:
    """Returns ``package`` and ``digest`` of every schema version recorded in a folder."""
    path = directory / _RECORDS
    if not path.exists():
        return {}
    records: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return records


def export_schemas(directory: Path) -> list[Path]:
    """Writes one file a contract and returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    schemas = build_schemas()
    return [_write_json(directory / f"{name}.json", schema) for name, schema in schemas.items()]


def record_schemas(directory: Path, changelog: Path) -> list[Path]:
    """Writes the schemas and the digest of their version, unless that version was released.

    Args:
        directory: The folder of the committed schemas.
        changelog: Names the package versions, newest first, and marks unreleased ones.

    Returns:
        The paths written.

    Raises:
        LeylineError: If the schemas of a released version would change.
    """
    unreleased = _unreleased_versions(changelog)
    records = read_records(directory)
    digest = schema_digest(build_schemas())
    known = records.get(str(SCHEMA_VERSION))
    if known is None or known["digest"] != digest:
        if known is not None and known["package"] not in unreleased:
            raise LeylineError(
                f"the contracts changed, but schema version {SCHEMA_VERSION} was released with "
                f"esper-leyline {known['package']}; raise SCHEMA_VERSION in "
                "esper_leyline.events and run this again"
            )
        if not unreleased:
            raise LeylineError(
                f"{changelog.name} has no unreleased version to carry the changed contracts; "
                "open a section '## <version> (unreleased)'"
            )
        records[str(SCHEMA_VERSION)] = {"package": unreleased[0], "digest": digest}
    return [*export_schemas(directory), _write_json(directory / _RECORDS, records)]


def main(arguments: list[str]) -> int:
    """Writes the schemas to the folder given, or records them in the package's checkout."""
    try:
        if arguments:
            paths = export_schemas(Path(arguments[0]))
        else:
            paths = record_schemas(SCHEMA_DIRECTORY, CHANGELOG)
    except LeylineError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for path in paths:
        sys.stdout.write(f"{path.name}\n")
    return 0


def _unreleased_versions(changelog: Path) -> list[str]:
    if not changelog.exists():
        raise LeylineError(
            "schemas are recorded in a checkout, and this package is installed without one; "
            "name a folder to export them to"
        )
    return re.findall(
        r"^## (\S+) \(unreleased\)$", changelog.read_text(encoding="utf-8"), flags=re.MULTILINE
    )


def _without_prose(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _without_prose(value)
            for key, value in node.items()
            if not (key in _PROSE and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    return node


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path
