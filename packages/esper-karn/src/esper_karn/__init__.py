"""Memory of Esper: event reader, reducer, view models and the console view."""

from esper_karn.console.closing_table import ClosingTable, closing_table
from esper_karn.console.console_view import ConsoleView, follow
from esper_karn.console.layout import Column, FittedTable, TableVariant
from esper_karn.console.runs_table import RunsTable
from esper_karn.console.screen import SafeConsole, echo, echo_error
from esper_karn.console.streams import guard_streams, output_failure
from esper_karn.errors import KarnError
from esper_karn.formatting import format_count, format_number
from esper_karn.log.reader import EventReader, Problem
from esper_karn.runs.folder import is_run_directory, resolve_log
from esper_karn.runs.records import (
    RunPeek,
    RunRecord,
    peek,
    read_run,
    read_summary,
    status_text,
)
from esper_karn.state.reducer import fold, reduce
from esper_karn.state.rounds import RoundBlock, RoundHistory
from esper_karn.state.run import (
    Cursor,
    EnvironmentState,
    Notice,
    Notices,
    RunFacts,
    RunSeries,
    RunState,
    SlotState,
)
from esper_karn.state.series import Bucket, Series
from esper_karn.views.progress import Header, Progress, RoundLine, header, progress, round_line
from esper_karn.views.run_report import Closing, ClosingRow, Learning, closing

__all__ = [
    "Bucket",
    "Closing",
    "ClosingRow",
    "ClosingTable",
    "Column",
    "ConsoleView",
    "Cursor",
    "EnvironmentState",
    "EventReader",
    "FittedTable",
    "Header",
    "KarnError",
    "Learning",
    "Notice",
    "Notices",
    "Problem",
    "Progress",
    "RoundBlock",
    "RoundHistory",
    "RoundLine",
    "RunFacts",
    "RunPeek",
    "RunRecord",
    "RunSeries",
    "RunState",
    "RunsTable",
    "SafeConsole",
    "Series",
    "SlotState",
    "TableVariant",
    "closing",
    "closing_table",
    "echo",
    "echo_error",
    "fold",
    "follow",
    "format_count",
    "format_number",
    "guard_streams",
    "header",
    "is_run_directory",
    "output_failure",
    "peek",
    "progress",
    "read_run",
    "read_summary",
    "reduce",
    "resolve_log",
    "round_line",
    "status_text",
]
