"""Follows the log of a run, live or finished, and sends it to Weights & Biases."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esper_karn.errors import KarnError
from esper_karn.log.reader import EventReader, problems_text
from esper_karn.runs.folder import resolve_log
from esper_karn.state.reducer import Folding
from esper_karn.state.run import RunState
from esper_karn.weights_and_biases.alerts import Alert, AlertLimiter
from esper_karn.weights_and_biases.client import FINISH_SECONDS, WandbRun
from esper_karn.weights_and_biases.options import WandbOptions, wandb_id
from esper_karn.weights_and_biases.rows import Row, RowBuilder
from esper_karn.weights_and_biases.seed_table import COLUMNS, SeedTable
from esper_karn.weights_and_biases.sent import SentFile
from esper_leyline import RunStatus
from esper_leyline.events import Event

POLL_SECONDS = 0.5
"""Seconds between two reads of the log."""

_EXIT_CODES = {RunStatus.COMPLETED: 0, RunStatus.FAILED: 1, RunStatus.INTERRUPTED: 255}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A run to send.

    Attributes:
        run: The run's directory.
        folder: The library writes to ``wandb`` in this folder.
        process: The process that trains, for its CPU and memory; ``None`` if it is not here.
    """

    run: Path
    folder: Path
    process: int | None = None


def export_run(
    source: Source,
    options: WandbOptions,
    *,
    stop: Callable[[], bool],
    wait_for_stop: bool,
    say: Callable[[str], None],
) -> RunState:
    """Sends a run's log as it is and as it grows.

    Args:
        source: The run.
        options: Where it goes.
        stop: Whether to end with what the log holds now.
        wait_for_stop: Whether only ``stop`` ends it, and not the end of the run in the log,
            after which a resumed run goes on.
        say: Takes lines for people: the address of the run, and how to upload the rest.

    Returns:
        The run's state at its last event.

    Raises:
        KarnError: If the log cannot be read, or Weights & Biases fails.
    """
    log = resolve_log(source.run)
    _check_writable(source.folder)
    exporter: Exporter | None = None
    state = RunState()
    with EventReader(log) as reader:
        gone = False
        while not gone and (wait_for_stop or not state.ended):
            # Call stop before reading, so that everything written until then is sent.
            gone = stop()
            for event in reader.read():
                if exporter is None:
                    exporter = Exporter(source, options, event)
                    say(f"wandb: {exporter.place}")
                exporter.feed(event)
            if exporter is not None:
                exporter.flush()
                state = exporter.state
            if not gone and (wait_for_stop or not state.ended):
                time.sleep(POLL_SECONDS)
        if exporter is None:
            raise KarnError(f"event log '{log}' holds no event; nothing was sent")
        if reader.problem_count:
            say(problems_text(log, reader.problem_count, reader.problems[0]))
    for line in exporter.finish():
        say(f"wandb: {line}")
    return state


class Exporter:
    """Sends the events of one run.

    Args:
        source: The run.
        options: Where it goes.
        first: The first event of its log, which names it; its folder does otherwise.

    Attributes:
        state: The run's state after the events so far.

    Raises:
        KarnError: If Weights & Biases fails; so do the methods.
    """

    def __init__(self, source: Source, options: WandbOptions, first: Event) -> None:
        self._folding = Folding()
        self.state = self._folding.state()
        self._options = options
        name = first.run_id or source.run.resolve().name
        self._client = WandbRun(
            options,
            run_id=wandb_id(name),
            name=name,
            group=first.group,
            folder=source.folder,
            process=source.process,
        )
        self._sent: SentFile | None = None
        self._before = self._client.received
        if options.wandb_mode == "offline":
            self._sent = SentFile(source.folder / "wandb", self._client.path)
            self._before = self._sent.sequence
        self._rows = RowBuilder(frozenset({"vitals"}) if options.wandb_no_system else frozenset())
        self._alerts = AlertLimiter()
        self._seeds = SeedTable()

    @property
    def place(self) -> str:
        """Where the run is shown, or offline written."""
        return self._client.url or f"offline, in {self._client.files}"

    def feed(self, event: Event) -> None:
        """Folds one event into the state, and sends what it completes."""
        old = self.state
        if not self._folding.take(event):
            return  # it was read before
        self.state = self._folding.state()
        self._send(self._rows.add(event, self.state))
        self._seeds.add(event)
        if self.state.notices.anomaly_count > old.notices.anomaly_count:
            alert = self._alerts.add(self.state.notices.anomalies[-1])
            if alert is not None and event.sequence > self._before:
                self._client.alert(alert)
        if self.state.status is RunStatus.FAILED and old.status is not RunStatus.FAILED:
            self._alert_failure(event)
        if self.state.started is not old.started or self.state.built is not old.built:
            self._client.set_config(_config(self.state))

    def flush(self) -> None:
        """Notes how far the run was sent."""
        if self._sent is not None:
            self._sent.write(max(self._before, self._sent.sequence))

    def finish(self) -> list[str]:
        """Ends the run at Weights & Biases; returns lines for people."""
        self._send(self._rows.finish())
        if self._seeds.rows:
            self._client.log_table("seeds", COLUMNS, list(self._seeds.rows))
        self._client.set_summary(_summary(self.state))
        if self._sent is not None:
            self._sent.write(max(self._before, self.state.cursor.sequence))
        uploaded = self._client.finish(_EXIT_CODES.get(self.state.status, 1))
        lines = []
        if self._seeds.left_out:
            lines.append(f"the table of seeds lacks its first {self._seeds.left_out:,} rows")
        command = f"uv run wandb sync {self._client.files}"
        if not uploaded:
            lines.append(
                f"not all was uploaded in {FINISH_SECONDS:.0f} s; upload the rest: {command}"
            )
        elif self._sent is not None:
            lines.append(f"upload it: {command}")
        return lines

    def _send(self, row: Row | None) -> None:
        """Sends a row that was not sent before."""
        if row is None or row.sequence <= self._before:
            return
        counts = {f"anomalies/{kind}": float(n) for kind, n in self._alerts.counts.items()}
        self._client.log(
            Row(sequence=row.sequence, wall_time=row.wall_time, values={**row.values, **counts})
        )
        self._before = row.sequence

    def _alert_failure(self, event: Event) -> None:
        if event.sequence > self._before:
            text = self.state.report.error or "no reason is known"
            self._client.alert(Alert(title="run failed", text=text, severe=True))


def _config(state: RunState) -> dict[str, object]:
    """Returns the configuration of a run, its versions, and what it is made of."""
    if state.started is None:
        return {}
    config = state.started.config.model_dump(mode="json")
    run = {
        "command": state.started.command,
        "versions": state.started.versions,
        "run_id": state.run_id,
    }
    built = {} if state.built is None else state.built.model_dump(mode="json", exclude={"kind"})
    return {**config, **run, **built}


def _summary(state: RunState) -> dict[str, object]:
    report = state.report
    total = report.rounds.total
    found: dict[str, object] = {
        "status": report.status.value,
        "error": report.error,
        "seconds": report.seconds,
        "rounds_done": report.rounds_done,
        "test_accuracy": report.mean_test_accuracy,
        "anomalies": state.notices.anomaly_count,
        "germinated": total.germinated if total else None,
        "fossilized": total.fossilized if total else None,
        "pruned": total.pruned if total else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _check_writable(folder: Path) -> None:
    """Refuses a folder that cannot be written: the library would use a temporary one instead.

    Raises:
        KarnError: If it cannot be written.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise KarnError(
            f"cannot write in '{folder}', where the files of wandb go; name another folder"
        )
