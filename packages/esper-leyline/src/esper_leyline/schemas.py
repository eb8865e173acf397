"""Exports the JSON Schemas of the public contracts: ``python -m esper_leyline.schemas``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from esper_leyline.actions import FactoredAction
from esper_leyline.checkpoint import CheckpointManifest
from esper_leyline.config import TrainingConfig
from esper_leyline.events import SCHEMA_VERSION, Event
from esper_leyline.gates import GateResult, LifecycleRules, SeedEvidence
from esper_leyline.lifecycle import SeedCommand, SeedState
from esper_leyline.reports import EvaluationReport, RewardBreakdown, SeedReport, StepReport
from esper_leyline.specs import DataSpec, TaskSpec
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

SCHEMA_DIRECTORY = Path(__file__).parent / "schemas"
"""Where the committed schemas lie, inside the package."""


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


def write_schemas(directory: Path) -> list[Path]:
    """Writes one file a contract and returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in build_schemas().items():
        path = directory / f"{name}.json"
        path.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def main(arguments: list[str]) -> int:
    """Writes the schemas to the package, or to the folder given as the only argument."""
    directory = Path(arguments[0]) if arguments else SCHEMA_DIRECTORY
    for path in write_schemas(directory):
        sys.stdout.write(f"{path.name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
