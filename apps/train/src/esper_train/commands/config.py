"""``esper-train config``: the resolved configuration, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from esper_karn import Column, FittedTable, SafeConsole, TableVariant, echo
from esper_leyline.config.overrides import flatten_config
from esper_train.commands.ppo import check_save, resolve_ppo
from esper_train.errors import TrainError
from esper_train.paths import check_folder_of, check_places
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import apply
from esper_train.settings.options import (
    CheckpointOptions,
    ConfigOptions,
    DualOptions,
    SourceOptions,
    TelemetryOptions,
)
from esper_train.settings.resolve import Plan

_DERIVED = {
    "device": "this machine",
    "devices": "this machine",
    "ppo.entropy_final": "half of ppo.entropy_coefficient",
}
"""Sources of values that were neither given nor in the base configuration."""


def run_config(
    *,
    options: ConfigOptions,
    flags: SettingFlags,
    source: SourceOptions,
    checkpoints: CheckpointOptions,
    telemetry: TelemetryOptions,
    dual: DualOptions,
) -> int:
    """Prints the configuration of a PPO run and returns the process's exit code."""
    if dual != DualOptions():
        raise TrainError(
            "esper-train config prints the configuration of one run; leave --dual-ab and "
            "--ab-seeds out, and give --reward-mode"
        )
    check_places(telemetry)
    plan, _ = resolve_ppo(flags, source, checkpoints)
    check_folder_of("--data-root", Path(plan.config.data_root))
    if checkpoints.save is not None:
        check_save(checkpoints.save)
    if options.json:
        echo_lines(plan.config.model_dump_json(indent=2))
        return 0
    keys, values, sources = zip(*explain(plan), strict=True)
    columns = [
        Column(head="setting", cells=keys, left=True),
        Column(head="value", cells=values, left=True, fold=True),
        Column(head="from", cells=sources, left=True, fold=True),
    ]
    SafeConsole().print(FittedTable(TableVariant(columns=columns), rule=False))
    return 0


def echo_lines(text: str) -> None:
    """Prints a text line by line."""
    for line in text.splitlines():
        echo(line)


def explain(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Yields dotted key, value as JSON, and source of every setting of a run."""
    task = f"task {plan.task.name}"
    resolved = flatten_config(plan.config.model_dump(mode="json"))
    if plan.config.host is None:
        training = {"host": plan.task.training.model_dump(mode="json")}
        del resolved["host"]
        resolved |= flatten_config(training)
    before = flatten_config(apply(plan.base.config, plan.given).model_dump(mode="json"))
    for key, value in resolved.items():
        source = _given(plan, key)
        if source is None and key.startswith("host.") and plan.base.config.host is None:
            source = task
        if source is None and before.get(key) != value:
            source = _DERIVED.get(key, task if key == "slots" else "derived")
        if source is None:
            source = plan.base.source if _is_set(plan, key) else "default"
        yield key, json.dumps(value), source


def _given(plan: Plan, key: str) -> str | None:
    """Returns how the user gave a key or a section of it."""
    found = (
        source for given, source in plan.given.sources.items() if f"{key}.".startswith(f"{given}.")
    )
    return next(found, None)


def _is_set(plan: Plan, key: str) -> bool:
    return any(f"{key}.".startswith(f"{each}.") for each in plan.base.keys)
