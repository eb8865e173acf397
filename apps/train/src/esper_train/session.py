"""A run from its directory to its summary, also when it fails or is interrupted."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import torch

from esper_karn import echo, echo_error, resume_command
from esper_karn.weights_and_biases.options import given_flags
from esper_leyline import (
    Environment,
    EnvironmentSpec,
    EsperError,
    RoundSummary,
    RunStatus,
    RunSummary,
)
from esper_leyline.events import (
    EnvironmentBuilt,
    Phase,
    RunCompleted,
    RunFailed,
    RunPhase,
    RunResumed,
    RunStarted,
    TestEvaluated,
    kinds_written,
)
from esper_leyline.files.paths import working_directory
from esper_leyline.summary import TelemetryLoss
from esper_nissa import Hub, Monitor, RunDirectory, VitalsThread
from esper_simic import MOST_SKIPS
from esper_train.checkpoints.resumption import Resumption
from esper_train.closing import print_closing
from esper_train.interrupts import StopRequest
from esper_train.readers import Readers
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan
from esper_train.storage import RunStorage

FAILED = 1


@dataclass(slots=True, kw_only=True)
class Progress:
    """The results of a run so far; the command updates it."""

    rounds: list[RoundSummary] = field(default_factory=list)
    host_parameters: int | None = None
    test_accuracy: float | None = None
    checkpoint: str | None = None
    notes: list[str] = field(default_factory=list)
    save: Path | None = None
    remedy: dict[str, float] = field(default_factory=dict)
    "Settings by dotted key that a resumed run has to change."

    @classmethod
    def of(cls, resumption: Resumption | None) -> Progress:
        """Returns the progress of a run at its begin: none, or what it resumes in place."""
        if resumption is None or resumption.directory is None:
            return cls()
        rounds = () if resumption.state is None else resumption.state["rounds"]
        return cls(
            rounds=[RoundSummary.model_validate(each) for each in rounds],
            checkpoint=resumption.checkpoint,
        )


class RunSession:
    """A run's directory, telemetry and readers, opened and closed in order.

    Used as a context manager: leaving it writes the summary, ends the telemetry and
    prints the closing table, also after an error or an interruption. From the first event on
    the console view prints, so this process prints nothing more until the end.

    Attributes:
        telemetry: Where the run's events go.
        directory: The run's directory.

    Args:
        command: Name of the command.
        plan: The resolved run.
        options: Where it writes, and what it prints.
        stop: Whether a stop was requested.
        directory: The run's directory, if it exists already.
        group: The comparison that the run belongs to.
        resumption: What the run resumes from. In its own directory it continues the log and
            its rounds; the caller holds its lock.
    """

    def __init__(
        self,
        command: str,
        plan: Plan,
        options: TelemetryOptions,
        stop: StopRequest,
        *,
        directory: RunDirectory | None = None,
        group: str | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self.command = command
        self._resumption = resumption
        self._given = directory
        self.group = group
        self.plan = plan
        self.stop = stop
        self.progress = Progress.of(resumption)
        self.status = RunStatus.RUNNING
        self._options = options
        # Now, because it may be removed during the run.
        self._folder = working_directory()
        self._started = time.time()
        # For durations: the wall clock may be set back while a run trains.
        self._began = time.monotonic()

    def __enter__(self) -> RunSession:
        # First, so that a port in use is known before anything is created.
        self._readers = Readers(self._options, self.stop, silent=self._is_silent)
        try:
            self._open()
        except BaseException:
            self._readers.abandon()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.stop.ignore_signals()
        self._vitals.stop()
        self._set_status(error)
        seconds = self._storage.earlier.seconds + time.monotonic() - self._began
        # Before the last event, so that the log and the summary agree.
        text = self._restore_directory()
        if error is not None and self.status is RunStatus.FAILED:
            text = f"{type(error).__name__}: {error}"
        self._emit_end(text, seconds)
        self.hub.close()  # first, because the summary says whether the log is whole
        summary = self._write_summary(text, seconds)
        self._readers.end_viewer(log_ends=self.hub.writes)
        print_closing(summary, self.directory.path, self.progress.notes, error)
        self._readers.finish(self.directory.path)
        self._storage.release()
        # Both are reported; any other error gets its traceback.
        return isinstance(error, EsperError | KeyboardInterrupt)

    @property
    def exit_code(self) -> int:
        """The process's exit code; only after the run has ended."""
        if self.status is RunStatus.INTERRUPTED:
            return self.stop.exit_code
        return 0 if self.status is RunStatus.COMPLETED else FAILED

    def resume_command(self, run: Path, more: Sequence[str] = ()) -> str:
        """Returns the command that resumes from a run directory or a file, with more arguments."""
        return resume_command(run, folder=self._folder, more=more)

    def phase(self, phase: Phase, detail: str | None = None) -> None:
        """Writes to the log what the run does from now on."""
        self.telemetry.emit(RunPhase(phase=phase, detail=detail))

    def built(self, spec: EnvironmentSpec, plan: str, policy_parameters: int | None = None) -> None:
        """Writes to the log what was built, and how hosts are distributed."""
        self.progress.host_parameters = spec.host_parameters
        self.telemetry.emit(
            EnvironmentBuilt(
                slots=spec.slots,
                host_parameters=spec.host_parameters,
                policy_parameters=policy_parameters,
                plan=plan,
            )
        )
        if self._is_silent:
            echo(f"plan: {plan}")

    def test_hosts(self, environment: Environment, round_number: int) -> None:
        """Evaluates the hosts of a round on the test split, and keeps their mean accuracy."""
        self.phase(Phase.TESTING)
        reports = environment.evaluate()
        for report in reports:
            self.telemetry.emit(
                TestEvaluated(result=report), round=round_number, environment=report.environment
            )
        if reports:
            total = sum(report.test_accuracy for report in reports)
            self.progress.test_accuracy = total / len(reports)

    @property
    def _is_silent(self) -> bool:
        """Whether the log stays empty, so that nothing can be shown."""
        return not kinds_written(self.plan.config.telemetry)

    def _open(self) -> None:
        """Opens the run's files, writes its first events and starts its readers."""
        config, resumption = self.plan.config, self._resumption
        self._storage = self._open_storage()
        self.directory = self._storage.directory
        position = self._storage.position
        self.hub = Hub(
            self.directory.run_id,
            self._storage.sinks,
            kinds=kinds_written(config.telemetry),
            boot=position.boot,
            sequence=position.sequence,
            group=self.group,
            on_loss=self._warn_of_loss,
        )
        self.telemetry = Monitor(self.hub)
        self._vitals = VitalsThread(self.telemetry, self.directory.path)
        echo(f"run: {self.directory.path}")
        self.telemetry.emit(
            RunStarted(
                command=self.command,
                config=config,
                versions={"python": platform.python_version(), "torch": str(torch.__version__)},
            )
        )
        if resumption is not None:
            self.telemetry.emit(
                RunResumed(
                    checkpoint=resumption.checkpoint,
                    rounds_completed=resumption.rounds_completed,
                )
            )
        self._readers.start(self.directory.path, since=position.sequence)
        if not self._is_silent:
            self._vitals.start()

    def _open_storage(self) -> RunStorage:
        """Opens the files of a new run, or of the one that continues in its own directory."""
        config, resumption = self.plan.config, self._resumption
        if resumption is not None and resumption.directory is not None:
            return RunStorage.reopen(resumption.directory, config)
        return RunStorage.create(
            self.command, config, self._options, directory=self._given, group=self.group
        )

    def _warn_of_loss(self, loss: TelemetryLoss) -> None:
        """Warns at once of lost events; called from the hub's thread."""
        kept = "" if self.hub.writes else f"; no event from number {loss.since_sequence} on is kept"
        echo_error(f"{loss.reason}{kept}; training continues", kind="warning")

    def _set_status(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.status = RunStatus.INTERRUPTED
        elif error is not None:
            self.status = RunStatus.FAILED
        elif self.status is RunStatus.RUNNING:
            self.status = RunStatus.COMPLETED

    def _restore_directory(self) -> str | None:
        """Restores what was deleted of the run directory; a checkpoint cannot be.

        Returns:
            Why a completed run counts as failed; ``None`` if it does not.
        """
        progress = self.progress
        progress.notes += self._storage.restore(self.plan.config)
        if progress.checkpoint is None:
            return None
        path = self.directory.path / progress.checkpoint
        if path.exists():
            return None
        gone = f"checkpoint '{path}' was deleted"
        progress.checkpoint = None
        if self.status is not RunStatus.COMPLETED:
            progress.notes.append(gone)
            return None
        self.status = RunStatus.FAILED
        progress.notes.append(f"{gone}; the run failed: nothing that it learned is left")
        return gone

    def _emit_end(self, error: str | None, seconds: float) -> None:
        """Emits the run's last event."""
        rounds = len(self.progress.rounds)
        if error is not None:
            self.telemetry.emit(RunFailed(error=error, rounds_completed=rounds, seconds=seconds))
        else:
            self.telemetry.emit(
                RunCompleted(status=self.status, rounds_completed=rounds, seconds=seconds)
            )

    def _write_summary(self, error: str | None, seconds: float) -> RunSummary:
        """Writes the summary; a run whose summary cannot be written has failed."""
        summary = self._summary(error, seconds)
        try:
            self.directory.write_summary(summary)
        except EsperError as failure:
            self.status = RunStatus.FAILED
            self.progress.notes.append(str(failure))
            return self._summary(error or str(failure), seconds)
        return summary

    def _summary(self, error: str | None, seconds: float) -> RunSummary:
        earlier = self._storage.earlier.started
        return RunSummary(
            run_id=self.directory.run_id,
            group=self.group,
            command=self.command,
            task=self.plan.config.task,
            status=self.status,
            error=error,
            started=self._started if earlier is None else earlier,
            ended=time.time(),
            seconds=seconds,
            rounds=tuple(self.progress.rounds),
            host_parameters=self.progress.host_parameters,
            mean_test_accuracy=self.progress.test_accuracy,
            checkpoint=self.progress.checkpoint,
            resume=self._resume_command(),
            peak_memory_mb=peak_memory_mb(),
            telemetry_lost=self.hub.lost,
        )

    def _resume_command(self) -> str | None:
        """Returns the command that resumes the run, unless it completed."""
        progress, wanted = self.progress, self.plan.config.n_episodes
        if self.command != "ppo" or self.status is RunStatus.COMPLETED:
            return None
        words: list[str] = []
        for key, value in progress.remedy.items():
            words += ["--set", f"{key}={value:g}"]
        if progress.remedy and len(progress.rounds) >= wanted:
            words += ["--rounds", str(wanted + MOST_SKIPS)]
        if self._options.wandb:
            words += ["--wandb", *given_flags(self._options.wandb_options)]
        if progress.save is not None:
            words += ["--save", str(progress.save)]
        return self.resume_command(self.directory.path, words)


def peak_memory_mb() -> float:
    """Returns the largest resident size of this process or of one of its children, in MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
