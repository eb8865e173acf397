"""The last lines that a run prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esper_karn import ClosingTable, RunReport, SafeConsole, echo, echo_error
from esper_leyline import EsperError, RunStatus, RunSummary
from esper_leyline.summary import TelemetryLoss


def print_closing(
    summary: RunSummary, run: Path, notes: Sequence[str], error: BaseException | None
) -> None:
    """Prints the closing table, what was lost, the error, and where the run is and continues.

    Args:
        summary: How the run ended.
        run: Its directory.
        notes: Lines to print after the table.
        error: What ended the run. Only an Esper error is printed; others get a traceback.
    """
    SafeConsole().print(ClosingTable(RunReport.of(summary)))
    for note in notes:
        echo(note)
    if summary.telemetry_lost is not None:
        echo(f"telemetry: {_missing(summary.telemetry_lost)}")
    echo(f"run directory: {run}")
    if isinstance(error, EsperError):
        echo_error("; ".join([str(error), *getattr(error, "__notes__", ())]))
    if summary.checkpoint is not None and summary.status is not RunStatus.COMPLETED:
        echo(f"last checkpoint: {run / summary.checkpoint}")
    if summary.resume is not None:
        echo(f"resume with: {summary.resume}")


def _missing(loss: TelemetryLoss) -> str:
    """Describes the events missing in the log, and the reason."""
    count = "1 event is" if loss.events == 1 else f"{loss.events:,} events are"
    return f"{count} missing, the first has number {loss.since_sequence}: {loss.reason}"
