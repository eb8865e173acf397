"""``esper-train config``: the resolved configuration, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from esper_karn import Column, FittedTable, SafeConsole, TableVariant, echo
from esper_leyline.config.overrides import flatten_config
from esper_leyline.files.paths import check_folder_of
from esper_train.commands.ppo import check_save, resolve_ppo
from esper_train.errors import TrainError
from esper_train.paths import check_places
from esper_train.readers import check_readers
from esper_train.settings.draft import Draft
from esper_train.settings.options import ConfigOptions, DualOptions, PPOOptions
from esper_train.settings.resolve import Plan


def run_config(options: ConfigOptions, run: PPOOptions) -> int:
    """Prints the configuration of a PPO run and returns the process's exit code."""
    if run.dual != DualOptions():
        raise TrainError(
            "esper-train config prints the configuration of one run; leave --dual-ab and "
            "--ab-seeds out, and give --reward-mode"
        )
    check_places(run.telemetry)
    plan = resolve_ppo(run)
    check_readers(run.telemetry, plan.config)
    check_folder_of("--data-root", Path(plan.config.data_root))
    if run.checkpoints.save is not None:
        check_save(run.checkpoints.save)
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
    draft = Draft(config=plan.config, origins=plan.origins).with_host()
    for key, value in flatten_config(draft.config.model_dump(mode="json")).items():
        yield key, json.dumps(value), draft.origin(key)
