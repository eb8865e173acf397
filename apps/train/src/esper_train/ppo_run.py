"""One PPO run: its components, its training and its checkpoints."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from esper_kasmina import build_host
from esper_leyline import (
    CheckpointManifest,
    EsperError,
    RewardFunction,
    RunStatus,
    observation_size,
)
from esper_leyline.events import CheckpointLoaded, CheckpointSaved, Phase
from esper_nissa import RunDirectory
from esper_simic import PPORunner, SkippedUpdatesError, build_reward, thresholds_for
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import build_environment
from esper_train.checkpoints.contents import align_state
from esper_train.checkpoints.files import (
    SUFFIX,
    copy_checkpoint,
    file_version,
    save_checkpoint,
)
from esper_train.checkpoints.resumption import (
    Resumption,
    checkpoints_of,
)
from esper_train.errors import TrainError
from esper_train.interrupts import StopRequest
from esper_train.measurements import required_measurements, required_profile
from esper_train.session import RunSession
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan


def train_ppo(
    plan: Plan,
    telemetry: TelemetryOptions,
    stop: StopRequest,
    *,
    resumption: Resumption | None = None,
    save: Path | None = None,
    directory: RunDirectory | None = None,
    group: str | None = None,
) -> int:
    """Trains a policy by a plan and returns the process's exit code.

    Args:
        plan: A resolved run.
        telemetry: Where it writes, and what it prints.
        stop: Asked between steps whether to stop.
        resumption: What it resumes from.
        save: File for a copy of the last checkpoint.
        directory: The run's directory, if it exists already.
        group: The comparison that the run belongs to.
    """
    reward = build_reward(plan.config.reward, gamma=plan.config.ppo.gamma)
    session = RunSession(
        "ppo", plan, telemetry, stop, directory=directory, group=group, resumption=resumption
    )
    with session:
        with stop.breakable():
            run = PPORun(plan, reward, session, resumption)
        run.train(stop, save)
    if session.status is RunStatus.COMPLETED:
        run.remove_old()
    return session.exit_code


class PPORun:
    """One PPO run: builds the components, trains, writes checkpoints."""

    def __init__(
        self,
        plan: Plan,
        reward: RewardFunction,
        session: RunSession,
        resumption: Resumption | None,
    ) -> None:
        self._plan = plan
        self._session = session
        self._written: list[Path] = []
        "This run's checkpoints, the oldest first."
        self._kept = 0
        self._newest: dict[str, Any] = {}
        config = plan.config
        assert config.device is not None
        self._environment = build_environment(
            plan.task,
            config,
            build_host,
            requires=required_measurements(config, reward),
            profile=required_profile(config),
            telemetry=session.telemetry,
        )
        # The policy's initial weights are the only draw from the global generator.
        torch.manual_seed(config.seed)
        spec = self._environment.spec
        self._policy = RecurrentPolicy(spec, config.policy, critic=config.ppo.critic)
        self._policy.to(config.device)
        if plan.compile_mode is not None:
            self._policy.compile_evaluation(plan.compile_mode)
        self._runner = PPORunner(
            self._environment,
            self._policy,
            reward,
            config.ppo,
            session.telemetry,
            rng_seed=config.seed,
            thresholds=thresholds_for(
                config.policy.floors, len(spec.slots), spec.blueprint_choices
            ),
            checkpoints=config.checkpoints,
            write_checkpoint=self._save,
            compiled=plan.compile_mode is not None,
        )
        session.built(spec, self._environment.plan, policy_parameters=self._policy_parameters())
        if resumption is not None:
            self._resume(resumption)

    def train(self, stop: StopRequest, copy_to: Path | None) -> None:
        """Trains until the last round or a stop request."""
        session, progress = self._session, self._session.progress
        rounds = self._plan.config.n_episodes
        progress.save = copy_to
        before = None if copy_to is None else file_version(copy_to)
        try:
            with stop.breakable():
                session.phase(Phase.TRAINING)
                session.status = self._runner.learn(rounds, should_stop=stop).status
                if session.status is RunStatus.COMPLETED:
                    session.test_hosts(self._environment, self._runner.rounds_completed)
        except SkippedUpdatesError as error:
            progress.remedy = error.changes
            raise
        finally:
            self._keep_rounds(copy_to)
            self._environment.close()
        if copy_to is not None and progress.checkpoint is not None:
            replaced = file_version(copy_to)
            copy_checkpoint(session.directory.path / progress.checkpoint, copy_to)
            progress.notes.append(f"checkpoint saved to {copy_to}")
            if replaced not in (None, before):
                progress.notes.append(
                    f"it replaced a file that another run wrote to {copy_to} meanwhile; "
                    "that run's own checkpoints are in its run directory"
                )

    def _keep_rounds(self, elsewhere: Path | None) -> None:
        """Saves every complete round; signals cannot interrupt it."""
        self._session.progress.rounds = list(self._runner.rounds)
        if not self._runner.rounds:
            return
        try:
            self._runner.save()
        except EsperError:
            # The run has already failed with this error.
            self._session.progress.notes += self._save_elsewhere(elsewhere)

    def _save_elsewhere(self, target: Path | None) -> list[str]:
        """Writes the last rounds to ``--save`` if the run directory cannot be written."""
        done, notes = self._runner.rounds_completed, []
        if target is not None:
            try:
                save_checkpoint(target, self._manifest(done), self._newest)
            except TrainError as failure:
                notes.append(str(failure))
            else:
                command = self._session.resume_command(target)
                return [f"checkpoint of {done} rounds saved to {target}; resume with: {command}"]
        rest = f"the last checkpoint holds {self._kept}" if self._kept else "there is no checkpoint"
        return [*notes, f"what the policy learned in {done} rounds is lost: {rest}"]

    def _resume(self, resumption: Resumption) -> None:
        """Loads the checkpoint, if there is one."""
        manifest, path = resumption.manifest, resumption.checkpoint
        if manifest is None or path is None:
            return
        in_place = resumption.directory is not None
        state = align_state(resumption.state, manifest.blueprints, self._policy)
        self._runner.load_state_dict(state, saved=in_place)
        self._session.telemetry.emit(
            CheckpointLoaded(path=path, rounds_completed=manifest.rounds_completed)
        )
        if resumption.directory is not None:
            self._written = checkpoints_of(resumption.directory)
            self._kept = manifest.rounds_completed
        else:
            # Killed before its first own checkpoint, the run would start again at round 1.
            self._runner.save()

    def _save(self, state: dict[str, Any]) -> None:
        done = self._runner.rounds_completed
        self._newest = state
        directory = self._session.directory
        path = directory.checkpoints / f"round-{done:05d}{SUFFIX}"
        shown = str(path.relative_to(directory.path))
        # Not interrupted by signals, so that file, summary and event agree.
        with self._session.stop.defer_signals():
            self._write(path, done, state)
            self._session.progress.checkpoint, self._kept = shown, done
            self._session.telemetry.emit(CheckpointSaved(path=shown, rounds_completed=done))
            # A run that is killed between its last checkpoint and its end repeats its last rounds.
            if done < self._plan.config.n_episodes:
                self.remove_old()

    def _write(self, path: Path, done: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint; on a full disk it removes older ones and tries again."""
        try:
            save_checkpoint(path, self._manifest(done), state)
        except TrainError:
            if len(self._written) < 2:
                raise
            self.remove_old(keep=1)
            save_checkpoint(path, self._manifest(done), state)
        if path not in self._written:
            self._written.append(path)

    def remove_old(self, keep: int | None = None) -> None:
        """Removes all of this run's checkpoints but the newest."""
        count = self._plan.config.checkpoints.keep if keep is None else keep
        old = self._written[:-count] if count else []
        for path in old:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            self._written.remove(path)

    def _manifest(self, rounds_completed: int) -> CheckpointManifest:
        slots = self._environment.spec.slots
        return CheckpointManifest(
            run_id=self._session.directory.run_id,
            task=self._plan.config.task,
            rounds_completed=rounds_completed,
            slots=slots,
            observation_size=observation_size(len(slots)),
            policy_parameters=self._policy_parameters(),
            blueprints=self._environment.spec.blueprint_rows,
            torch_version=str(torch.__version__),
            config=self._plan.config,
            group=self._session.group,
        )

    def _policy_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._policy.parameters())
