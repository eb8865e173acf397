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

from esper_karn import (
    ClosingTable,
    RunReport,
    SafeConsole,
    echo,
    echo_error,
    resume_command,
)
from esper_karn.weights_and_biases.options import given_flags
from esper_leyline import (
    Environment,
    EnvironmentSpec,
    EsperError,
    RoundSummary,
    RunStatus,
    RunSummary,
    TrainingConfig,
    read_config,
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
from esper_leyline.ports import TelemetrySink
from esper_leyline.summary import TelemetryLoss
from esper_nissa import (
    Hub,
    JsonlSink,
    LogPosition,
    Monitor,
    RunDirectory,
    RunLock,
    VitalsThread,
    earlier_work,
    next_position,
    open_sinks,
)
from esper_simic import MOST_SKIPS
from esper_train.checkpoints.resumption import Resumption
from esper_train.interrupts import StopRequest
from esper_train.pages import Pages
from esper_train.settings.options import TelemetryOptions
from esper_train.settings.resolve import Plan
from esper_train.viewer import Viewer
from esper_train.wandb_reader import WandbReader

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


class RunSession:
    """A run's directory, telemetry and console view, opened and closed in order.

    Used as a context manager: leaving it writes the summary, ends the telemetry and
    prints the closing table, also after an error or an interruption. From the first event on
    the console view prints, so this process prints nothing more until the end.

    Attributes:
        telemetry: Where the run's events go.

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
        self.progress = Progress()
        self.status = RunStatus.RUNNING
        self._options = options
        # Now, because it may be removed during the run.
        self._folder = working_directory()
        self._started = time.time()
        self._earlier_seconds = 0.0
        # For durations: the wall clock may be set back while a run trains.
        self._began = time.monotonic()
        self._viewer: Viewer | None = None
        self._wandb: WandbReader | None = None

    def __enter__(self) -> RunSession:
        # First, so that a port in use is known before anything is created.
        self._pages = Pages(self._options)
        try:
            self._open()
        except BaseException:
            self._pages.close()
            raise
        return self

    def _open(self) -> None:
        config = self.plan.config
        self._in_place = self._resumption is not None and self._resumption.directory is not None
        self.directory = self._find_directory()
        self._lock = None if self._in_place else self._take_lock()
        self.hub = Hub(
            self.directory.run_id,
            self._open_sinks(),
            kinds=kinds_written(config.telemetry),
            boot=self._position.boot,
            sequence=self._position.sequence,
            group=self.group,
            on_loss=self._warn_of_loss,
        )
        if self._in_place:
            self._replace_files()
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
        if self._resumption is not None:
            self.telemetry.emit(
                RunResumed(
                    checkpoint=self._resumption.checkpoint,
                    rounds_completed=self._resumption.rounds_completed,
                )
            )
        self._pages.start(self.directory.path.parent, self.directory.run_id)
        self._start_wandb()
        self._show()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.stop.ignore_signals()
        self._vitals.stop()
        self._set_status(error)
        rounds = len(self.progress.rounds)
        seconds = self._earlier_seconds + time.monotonic() - self._began
        # Before the last event, so that the log and the summary agree.
        text = self._restore_directory()
        if error is not None and self.status is RunStatus.FAILED:
            text = f"{type(error).__name__}: {error}"
        if text is not None:
            self.telemetry.emit(RunFailed(error=text, rounds_completed=rounds, seconds=seconds))
        else:
            self.telemetry.emit(
                RunCompleted(status=self.status, rounds_completed=rounds, seconds=seconds)
            )
        self.hub.close()  # first, because the summary says whether the log is whole
        summary = self._write_summary(text, seconds)
        self._end_view()
        SafeConsole().print(ClosingTable(RunReport.of(summary)))
        for note in self.progress.notes:
            echo(note)
        if summary.telemetry_lost is not None:
            echo(f"telemetry: {_missing(summary.telemetry_lost)}")
        echo(f"run directory: {self.directory.path}")
        suppressed = self._report_error(error)
        if self.progress.checkpoint is not None and summary.status is not RunStatus.COMPLETED:
            echo(f"last checkpoint: {self.directory.path / self.progress.checkpoint}")
        if summary.resume is not None:
            echo(f"resume with: {summary.resume}")
        if self._pages:
            self._pages.close()
            echo(f"see it again with: uv run esper-overwatch web {self.directory.path.parent}")
        if self._wandb is not None:
            self._wandb.finish()
        if self._lock is not None:
            self._lock.release()
        return suppressed

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

    def _show(self) -> None:
        """Starts the console view, and the measurements of the machine."""
        if self._is_silent:
            echo("telemetry is off: nothing is shown until the end")
            return
        with self.stop.defer_signals():
            self._viewer = Viewer.start(
                self.directory.path,
                plain=self._options.no_tui,
                # The links of the page stay in sight.
                full_screen=not self._pages,
                since=self._position.sequence,
            )
        self._vitals.start()

    def _find_directory(self) -> RunDirectory:
        """Creates the run's directory, or prepares the one in which it continues."""
        self._position = LogPosition(boot=0, sequence=0)
        resumption = self._resumption
        if resumption is None or resumption.directory is None:
            return self._given or create_directory(self.plan.config, self._options)
        directory = resumption.directory
        self._position = next_position(directory.events, directory.run_id)
        if self._position.boot == 0 and not self._is_silent:
            echo(f"event log '{directory.events}' is missing or holds no event: a new one begins")
        earlier = earlier_work(directory.events)
        self._earlier_seconds = earlier.seconds
        self._started = self._started if earlier.started is None else earlier.started
        state = resumption.state or {"rounds": ()}
        self.progress.rounds = [RoundSummary.model_validate(each) for each in state["rounds"]]
        self.progress.checkpoint = resumption.checkpoint
        return directory

    def _replace_files(self) -> None:
        """Writes the new config, and removes the summary of the process before.

        Last of all that can fail before a run resumes, so that a failure changes nothing.
        """
        try:
            if read_config(self.directory.config) != self.plan.config:
                self.directory.write_config(self.plan.config)
        except EsperError:
            self.hub.close()
            raise
        # Without it, readers take the log.
        self.directory.summary.unlink(missing_ok=True)

    def _take_lock(self) -> RunLock:
        """Locks the run directory; a failure leaves no new one."""
        try:
            lock = self.directory.lock(self.command, group=self.group)
        except EsperError:
            if self._given is None:
                self.directory.discard()
            raise
        if not lock.locked:
            echo(
                f"the file system of '{self.directory.path}' has no locks: a second trainer of "
                "this run is not refused, and after a crash it is called stale, not crashed"
            )
        return lock

    def _start_wandb(self) -> None:
        options = self._options.wandb_options
        if not self._options.wandb:
            return
        if not options.enabled:
            echo("wandb: disabled; nothing is sent")
            return
        echo(f"wandb: project {options.wandb_project}, {options.wandb_mode}")
        with self.stop.defer_signals():
            self._wandb = WandbReader.start(self.directory.path, options)

    def _open_sinks(self) -> list[TelemetrySink]:
        """Opens the run's log and the sinks of plugins; a failure leaves no run directory."""
        opened: list[TelemetrySink] = []
        try:
            opened.append(JsonlSink(self.directory.events, new=not self._in_place))
            opened.extend(open_sinks(self.plan.config.telemetry.sinks, self.directory.path))
        except EsperError:
            for sink in opened:
                sink.close()
            if opened and not self._in_place:
                self.directory.events.unlink(missing_ok=True)
            if self._given is None and not self._in_place:
                self.directory.discard()
            raise
        return opened

    def _warn_of_loss(self, loss: TelemetryLoss) -> None:
        """Warns at once of lost events; called from the hub's thread."""
        kept = "" if self.hub.writes else f"; no event from number {loss.since_sequence} on is kept"
        echo_error(f"{loss.reason}{kept}; training continues", kind="warning")

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

    def _end_view(self) -> None:
        if self._viewer is None:
            return
        if not self.hub.writes:
            self._viewer.end()  # the log has no last event that it could wait for
        elif self._viewer.finish() != 0:
            echo("the console view ended early; the run was not affected")

    def _restore_directory(self) -> str | None:
        """Restores a run directory that was deleted during the run, and notes what is missing.

        Returns:
            Why a completed run counts as failed; ``None`` if it does not.
        """
        path, progress = self.directory.path, self.progress
        there = path.exists()
        try:
            missing = self.directory.restore(self.plan.config)
        except EsperError as failure:
            missing = ()
            progress.notes.append(str(failure))
        if not there:
            progress.notes.append(
                f"run directory '{path}' was deleted during the run; earlier files are lost"
            )
        elif missing:
            names = " and ".join(missing)
            progress.notes.append(f"{names} of '{path}' was deleted during the run; written again")
        if progress.checkpoint is None or (path / progress.checkpoint).exists():
            return None
        gone = f"checkpoint '{path / progress.checkpoint}' was deleted"
        progress.checkpoint = None
        if self.status is not RunStatus.COMPLETED:
            progress.notes.append(gone)
            return None
        self.status = RunStatus.FAILED
        progress.notes.append(f"{gone}; the run failed: nothing that it learned is left")
        return gone

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

    def _set_status(self, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.status = RunStatus.INTERRUPTED
        elif error is not None:
            self.status = RunStatus.FAILED
        elif self.status is RunStatus.RUNNING:
            self.status = RunStatus.COMPLETED

    def _report_error(self, error: BaseException | None) -> bool:
        """Prints an Esper error; returns whether the exception needs no traceback."""
        if isinstance(error, EsperError):
            notes = getattr(error, "__notes__", ())
            echo_error("; ".join([str(error), *notes]))
        return isinstance(error, EsperError | KeyboardInterrupt)

    def _summary(self, error: str | None, seconds: float) -> RunSummary:
        return RunSummary(
            run_id=self.directory.run_id,
            group=self.group,
            command=self.command,
            task=self.plan.config.task,
            status=self.status,
            error=error,
            started=self._started,
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


def create_directory(config: TrainingConfig, options: TelemetryOptions) -> RunDirectory:
    """Creates the directory of a new run, with its resolved config in it.

    Raises:
        NissaError: If it cannot be created.
    """
    directory = RunDirectory.create(
        options.runs,
        config.task,
        telemetry_file=options.telemetry_file,
        telemetry_dir=options.telemetry_dir,
    )
    try:
        directory.write_config(config)
    except EsperError:
        directory.discard()
        raise
    return directory


def _missing(loss: TelemetryLoss) -> str:
    """Describes the events missing in the log, and the reason."""
    count = "1 event is" if loss.events == 1 else f"{loss.events:,} events are"
    return f"{count} missing, the first has number {loss.since_sequence}: {loss.reason}"


def peak_memory_mb() -> float:
    """Returns the largest resident size of this process or of one of its children, in MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
