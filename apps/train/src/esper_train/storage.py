"""The files of a run: its directory, its lock and its log, new or continued."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_karn import echo
from esper_leyline import EsperError, TrainingConfig, read_config
from esper_leyline.events import kinds_written
from esper_leyline.ports import TelemetrySink
from esper_nissa import (
    EarlierWork,
    JsonlSink,
    LogPosition,
    RunDirectory,
    RunLock,
    earlier_work,
    next_position,
    open_sinks,
)
from esper_train.settings.options import TelemetryOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStorage:
    """The open files of a run.

    Attributes:
        directory: The run's directory.
        sinks: The run's log, and the sinks of plugins; the hub closes them.
        position: Where the log continues.
        earlier: What the processes that wrote the log before have done.
        lock: The run's lock; ``None`` if the caller holds it.
    """

    directory: RunDirectory
    sinks: tuple[TelemetrySink, ...]
    position: LogPosition = field(default_factory=lambda: LogPosition(boot=0, sequence=0))
    earlier: EarlierWork = field(default_factory=EarlierWork)
    lock: RunLock | None = None

    @classmethod
    def create(
        cls,
        command: str,
        config: TrainingConfig,
        options: TelemetryOptions,
        *,
        directory: RunDirectory | None = None,
        group: str | None = None,
    ) -> RunStorage:
        """Locks the directory of a new run and opens its log; a failure leaves nothing behind.

        Args:
            command: Name of the command that trains it.
            config: The resolved config.
            options: Where the run writes.
            directory: Its directory, if that exists already; a failure does not remove it.
            group: The comparison that the run belongs to.

        Raises:
            EsperError: If something cannot be created.
        """
        run = create_directory(config, options) if directory is None else directory
        try:
            lock = run.lock(command, group=group)
            try:
                sinks = _open_sinks(run, config, new=True)
            except EsperError:
                lock.release()
                raise
        except EsperError:
            if directory is None:
                run.discard()
            raise
        if not lock.locked:
            echo(
                f"the file system of '{run.path}' has no locks: a second trainer of "
                "this run is not refused, and after a crash it is called stale, not crashed"
            )
        return cls(directory=run, sinks=sinks, lock=lock)

    @classmethod
    def reopen(cls, directory: RunDirectory, config: TrainingConfig) -> RunStorage:
        """Opens the files of a run that continues in its own directory; the caller holds its lock.

        Args:
            directory: The run's directory.
            config: The resolved config, which replaces the one before.

        Raises:
            EsperError: If the log cannot be continued, or a file cannot be written. The config
                and the summary of the process before are then unchanged.
        """
        position = next_position(directory.events, directory.run_id)
        if position.boot == 0 and kinds_written(config.telemetry):
            echo(f"event log '{directory.events}' is missing or holds no event: a new one begins")
        earlier = earlier_work(directory.events)
        sinks = _open_sinks(directory, config, new=False)
        try:
            if read_config(directory.config) != config:
                directory.write_config(config)
        except EsperError:
            for sink in sinks:
                sink.close()
            raise
        # Without a summary, readers take the log.
        directory.summary.unlink(missing_ok=True)
        return cls(directory=directory, sinks=sinks, position=position, earlier=earlier)

    def restore(self, config: TrainingConfig) -> list[str]:
        """Restores a directory that was deleted during the run.

        Returns:
            Lines that name what was missing, and what cannot be written.
        """
        path, notes = self.directory.path, []
        there = path.exists()
        missing: tuple[str, ...] = ()
        try:
            missing = self.directory.restore(config)
        except EsperError as failure:
            notes.append(str(failure))
        if not there:
            notes.append(
                f"run directory '{path}' was deleted during the run; earlier files are lost"
            )
        elif missing:
            names = " and ".join(missing)
            notes.append(f"{names} of '{path}' was deleted during the run; written again")
        return notes

    def release(self) -> None:
        """Releases the lock, unless the caller holds it."""
        if self.lock is not None:
            self.lock.release()


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


def _open_sinks(
    run: RunDirectory, config: TrainingConfig, *, new: bool
) -> tuple[TelemetrySink, ...]:
    log = JsonlSink(run.events, new=new)
    try:
        return (log, *open_sinks(config.telemetry.sinks, run.path))
    except EsperError:
        log.close()
        if new:
            # A log outside the run directory is not removed with it.
            run.events.unlink(missing_ok=True)
        raise
