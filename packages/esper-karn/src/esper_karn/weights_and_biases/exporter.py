"""Sends the events of a run to Weights & Biases, one by one."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from esper_karn.runs.liveness import Liveness
from esper_karn.state.notices import anomaly_notice
from esper_karn.state.reducer import Folding
from esper_karn.state.run import RunState
from esper_karn.weights_and_biases.alerts import Alert, AlertLimiter
from esper_karn.weights_and_biases.client import FINISH_SECONDS, WandbRun
from esper_karn.weights_and_biases.options import WandbOptions, wandb_id
from esper_karn.weights_and_biases.rows import Row, RowBuilder
from esper_karn.weights_and_biases.seed_table import COLUMNS, SeedTable
from esper_karn.weights_and_biases.sent import SentFile
from esper_leyline import RunStatus
from esper_leyline.events import EnvironmentBuilt, Event, RunFailed, RunStarted

_CRASHED = Alert(
    title="run crashed", text="its process is gone, and its log has no end", severe=True
)

FAILED = 1
"""Exit code of a run that has not ended; a crashed one too is shown as failed."""

_EXIT_CODES = {RunStatus.COMPLETED: 0, RunStatus.FAILED: FAILED, RunStatus.INTERRUPTED: 255}


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


class Exporter:
    """Sends the events of one run.

    Args:
        source: The run.
        options: Where it goes.
        first: The first event of its log, which names it; its folder does otherwise.

    Raises:
        KarnError: If Weights & Biases fails; so do the methods.
    """

    def __init__(self, source: Source, options: WandbOptions, first: Event) -> None:
        self._folding = Folding()
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
        self._sent_before = self._before
        self._rows = RowBuilder(frozenset({"vitals"}) if options.wandb_no_system else frozenset())
        self._alerts = AlertLimiter()
        self._seeds = SeedTable()

    @property
    def state(self) -> RunState:
        """The run's state after the events so far."""
        return self._folding.state()

    @property
    def place(self) -> str:
        """Where the run is shown, or offline written."""
        return self._client.url or f"offline, in {self._client.files}"

    @property
    def sync_command(self) -> str:
        """The command that uploads what was not uploaded."""
        offline = self._sent is not None
        folders = self._client.offline_files() if offline else [self._client.files]
        return shlex.join(["uv", "run", "wandb", "sync", *map(str, folders)])

    def feed(self, event: Event) -> None:
        """Folds one event into the state, and sends what it completes."""
        if not self._folding.take(event):
            return  # it was read before
        self._send(self._rows.add(event))
        self._seeds.add(event)
        notice = anomaly_notice(event)
        alert = None if notice is None else self._alerts.add(notice)
        if isinstance(event.payload, RunFailed):
            alert = Alert(title="run failed", text=event.payload.error, severe=True)
        if alert is not None and event.sequence > self._before:
            self._client.alert(alert)
        if isinstance(event.payload, RunStarted | EnvironmentBuilt):
            self._client.set_config(_config(self.state))

    def finish(self, *, crashed: bool = False) -> list[str]:
        """Ends the run at Weights & Biases.

        Args:
            crashed: Whether the process that trained is gone and the log has no end.

        Returns:
            Lines for people.
        """
        self._send(self._rows.finish())
        if self._seeds.rows:
            self._client.log_table("seeds", COLUMNS, list(self._seeds.rows))
        state = self.state
        summary = _summary(state)
        if crashed:
            summary["status"] = Liveness.CRASHED.value
            if state.cursor.sequence > self._sent_before:
                self._client.alert(_CRASHED)
        self._client.set_summary(summary)
        uploaded = self._client.finish(_EXIT_CODES.get(state.status, FAILED))
        if uploaded and self._sent is not None:
            # Only now is everything on the disk: what a killed reader sent may not be.
            self._sent.write(max(self._before, state.cursor.sequence))
        lines = []
        if self._seeds.left_out:
            lines.append(f"the table of seeds lacks its first {self._seeds.left_out:,} rows")
        if not uploaded:
            lines.append(
                f"not all was uploaded in {FINISH_SECONDS:.0f} s; upload the rest: "
                f"{self.sync_command}"
            )
        elif self._sent is not None:
            lines.append(f"upload it: {self.sync_command}")
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
