"""``esper-train ppo``: trains a policy with PPO."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from esper_karn import echo
from esper_leyline.files.paths import check_file_of
from esper_train.checkpoints.resumption import (
    Resumption,
    find_target,
    read_target,
)
from esper_train.data import make_data_ready
from esper_train.interrupts import StopRequest
from esper_train.pages import without_compiling
from esper_train.paths import check_places, check_writable
from esper_train.ppo_run import train_ppo
from esper_train.readers import check_readers
from esper_train.settings.options import PPOOptions
from esper_train.settings.resolve import Plan, plan_ppo, plan_restart, plan_resume


def run_ppo(options: PPOOptions) -> int:
    """Trains a policy and returns the process's exit code."""
    check_places(options.telemetry)
    if options.checkpoints.resume is None:
        return _run(plan_ppo(options.flags, options.source), options)
    target = find_target(options.checkpoints.resume, options.telemetry)
    # Locked before the checkpoint is read, so that no other process writes a newer one.
    with nullcontext() if target.run is None else target.run.lock("ppo", group=target.group):
        resumption = read_target(target, repair=True)
        return _run(plan_resumption(resumption, options), options, resumption, target.group)


def _run(
    plan: Plan,
    options: PPOOptions,
    resumption: Resumption | None = None,
    group: str | None = None,
) -> int:
    telemetry, save = options.telemetry, options.checkpoints.save
    check_readers(telemetry, plan.config)
    plan = without_compiling(plan, telemetry)
    save_notes = () if save is None else check_save(save)
    for note in (*plan.notes, *save_notes):
        echo(note)
    make_data_ready(plan)
    if resumption is not None and resumption.manifest is not None:
        group = resumption.manifest.group
    with StopRequest() as stop:
        return train_ppo(plan, telemetry, stop, resumption=resumption, save=save, group=group)


def resolve_ppo(options: PPOOptions) -> Plan:
    """Resolves the flags of a run, also of one that resumes; changes nothing.

    Raises:
        EsperError: If a flag or the checkpoint is not usable.
    """
    if options.checkpoints.resume is None:
        return plan_ppo(options.flags, options.source)
    target = find_target(options.checkpoints.resume, options.telemetry)
    return plan_resumption(read_target(target), options)


def plan_resumption(resumption: Resumption, options: PPOOptions) -> Plan:
    """Resolves the flags of a run that resumes.

    Raises:
        EsperError: If a setting may not change, or no round is left to train.
    """
    path, manifest = resumption.path, resumption.manifest
    flags, source = options.flags, options.source
    if manifest is None or resumption.ends:
        plan = plan_restart(resumption.config, flags, source, origin=f"run {path}")
    else:
        plan = plan_resume(manifest, flags, source, path=path, config=resumption.config)
    return replace(plan, notes=resumption.notes + plan.notes)


def check_save(path: Path) -> tuple[str, ...]:
    """Checks before training that ``--save`` can be written; creates nothing.

    Returns:
        Notes to print.

    Raises:
        EsperError: If it cannot.
    """
    there = check_file_of("--save", path)
    check_writable("--save", path)
    return (f"--save {path} exists and will be replaced when the run ends",) if there else ()
