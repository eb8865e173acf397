"""What ``--resume`` names: a run directory, the latest run, or a checkpoint file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esper_karn import KarnError, read_summary
from esper_leyline import CheckpointManifest, RunStatus, TrainingConfig, read_config
from esper_leyline.run_files import CONFIG_FILE
from esper_leyline.run_lock import probe_lock
from esper_nissa import RunDirectory
from esper_simic import MOST_SKIPS
from esper_train.checkpoints.files import SUFFIX, DamagedError, load_checkpoint
from esper_train.checkpoints.latest import LATEST, latest_run
from esper_train.errors import TrainError
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resume import check_config

DAMAGED = ".damaged"
"""Appended to the name of a checkpoint that a resumed run could not read."""

_NAME = re.compile(rf"round-(\d+){re.escape(SUFFIX)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What ``--resume`` names.

    Attributes:
        run: The run that continues in its own directory; ``None`` for a new directory.
        checkpoint: The checkpoint file; ``None`` for the newest one of the run.
        notes: Lines to print.
    """

    run: RunDirectory | None
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def group(self) -> str | None:
        """The comparison that the run is an arm of, as its lock file says."""
        owner = None if self.run is None else probe_lock(self.run.path).owner
        return None if owner is None else owner.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What a run resumes from.

    Attributes:
        path: The checkpoint, or the directory of a run that was killed before its first one.
        config: The configuration of the run so far.
        manifest: The checkpoint's; ``None`` without one.
        state: The checkpoint's state; ``None`` without one.
        directory: The directory in which the run continues; ``None`` for a new one.
        notes: Lines to print.
    """

    path: Path
    config: TrainingConfig
    manifest: CheckpointManifest | None = None
    state: dict[str, Any] | None = field(default=None, repr=False)
    directory: RunDirectory | None = None
    notes: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether all rounds are trained, and only the run's end is missing."""
        return (
            self.directory is not None
            and self.manifest is not None
            and self.state is not None
            and _lacks_its_end(self.directory, self.config, self.manifest, self.state)
        )

    @property
    def rounds_completed(self) -> int:
        """Rounds that are done; later ones that the log holds are repeated."""
        return 0 if self.manifest is None else self.manifest.rounds_completed

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint as events and summaries name it; ``None`` without one."""
        if self.manifest is None:
            return None
        if self.directory is None:
            return str(self.path)
        return str(self.path.relative_to(self.directory.path))


def find_target(value: Path, telemetry: TelemetryOptions) -> Target:
    """Finds what ``--resume`` names.

    A run directory, and the newest checkpoint in one, continue in place. An older checkpoint and a
    file elsewhere start a new directory, so that nothing newer is lost.

    Raises:
        EsperError: If there is no such run, or its log was sent elsewhere by a flag.
    """
    if str(value) == LATEST:
        target = Target(run=latest_run(telemetry.runs))
    elif value.is_dir():
        target = Target(run=RunDirectory.open(value))
    else:
        target = _target_of_file(value)
    if target.run is not None:
        for flag, path in (
            ("--telemetry-file", telemetry.telemetry_file),
            ("--telemetry-dir", telemetry.telemetry_dir),
        ):
            if path is not None:
                raise TrainError(
                    f"{flag} {path} does not go with --resume of a run, which continues with its "
                    f"log '{target.run.events}'; leave it out"
                )
    return target


def read_target(target: Target, *, repair: bool = False) -> Resumption:
    """Reads the checkpoint of a target.

    The newest checkpoint that is not damaged is taken; the notes name the others.

    Args:
        target: What to resume.
        repair: Whether to rename damaged checkpoints, so that they do not count any more.

    Raises:
        EsperError: If no checkpoint of the target can be used.
    """
    if target.run is None:
        assert target.checkpoint is not None
        manifest, state = load_checkpoint(target.checkpoint)
        return Resumption(
            path=target.checkpoint,
            config=manifest.config,
            manifest=manifest,
            state=state,
            notes=target.notes,
        )
    paths = checkpoints_of(target.run)
    if paths:
        return _read(target.run, paths[::-1], repair=repair)
    return Resumption(
        path=target.run.path,
        config=read_config(target.run.config),
        directory=target.run,
        notes=(f"run '{target.run.path}' has no checkpoint; it starts again at round 1",),
    )


def checkpoints_of(run: RunDirectory) -> list[Path]:
    """Returns the checkpoints in a run directory, the oldest first."""
    found = [
        (match, path) for path in run.checkpoints.glob(f"*{SUFFIX}") if (match := _number(path))
    ]
    return [path for _, path in sorted(found)]


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def _read(run: RunDirectory, paths: list[Path], *, repair: bool) -> Resumption:
    """Reads the first of these checkpoints that is not damaged."""
    notes: list[str] = []
    damaged: list[Path] = []
    for path in paths:
        try:
            manifest, state = load_checkpoint(path)
        except DamagedError as error:
            if path == paths[-1]:
                raise
            notes.append(f"{error}: an older one is taken")
            damaged.append(path)
            continue
        break
    if repair:
        for each in damaged:
            each.rename(each.with_name(each.name + DAMAGED))
    same = manifest.run_id == run.run_id
    # What the flags of an earlier process changed, which was killed before it wrote a checkpoint.
    config = read_config(run.config) if same else manifest.config
    check_config(run.config, config, manifest)
    if _lacks_its_end(run, config, manifest, state):
        # The hosts of the last round are gone, and the test split is evaluated on them.
        older = paths[paths.index(path) + 1 :]
        if not older and manifest.rounds_completed == 1:
            notes.append(f"run '{run.path}' did not reach its end: its only round is repeated")
            return Resumption(path=run.path, config=config, directory=run, notes=tuple(notes))
        if older:
            notes.append(f"run '{run.path}' did not reach its end: its last rounds are repeated")
            path = older[0]
            manifest, state = load_checkpoint(path)
        else:
            notes.append(
                f"run '{run.path}' did not reach its end, and no older checkpoint is left to "
                "repeat its last round from: it ends without a test accuracy"
            )
    if not same:
        notes.append(
            f"'{run.path}' holds checkpoints of run '{manifest.run_id}': it is a copy, or was "
            "renamed; a new run directory is made"
        )
    return Resumption(
        path=path,
        config=config,
        manifest=manifest,
        state=state,
        directory=run if same else None,
        notes=tuple(notes),
    )


def _lacks_its_end(
    run: RunDirectory,
    config: TrainingConfig,
    manifest: CheckpointManifest,
    state: Mapping[str, Any],
) -> bool:
    """Whether a run has trained all its rounds, and did not reach its end.

    It was killed before its summary, or stopped after its last round. A run that its updates ended
    continues with further rounds instead.
    """
    if manifest.rounds_completed < config.n_episodes:
        return False
    status = _status(run.summary)
    ended_by_updates = state["ppo"]["consecutive_skips"] >= MOST_SKIPS
    return status is None or (status is not RunStatus.COMPLETED and not ended_by_updates)


def _status(summary: Path) -> RunStatus | None:
    """Returns how a run ended; ``None`` without a summary that can be read."""
    try:
        found = read_summary(summary)
    except KarnError:
        return None
    return None if found is None else found.status


def _target_of_file(path: Path) -> Target:
    run = path.absolute().parent.parent
    if not path.is_file() or not (run / CONFIG_FILE).is_file() or _number(path) == 0:
        return Target(run=None, checkpoint=path)
    directory = RunDirectory.open(path.parent.parent)
    newest = checkpoints_of(directory)[-1:]
    if newest and newest[0].name == path.name:
        return Target(run=directory, checkpoint=path)
    note = (
        f"checkpoint '{path}' is not the newest of its run: it continues in a new run directory "
        f"(--resume {directory.path} continues in its own)"
    )
    return Target(run=None, checkpoint=path, notes=(note,))
