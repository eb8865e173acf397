"""Memory of Esper: event reader, reducer, view models and the console view."""

from esper_karn.console.closing_table import ClosingTable, closing_table
from esper_karn.console.console_view import ConsoleView, follow
from esper_karn.console.layout import Column, FittedTable, Form
from esper_karn.console.runs_table import RunsTable
from esper_karn.console.screen import Screen, complain, say
from esper_karn.console.streams import guard_streams, lost_output
from esper_karn.errors import KarnError
from esper_karn.formatting import count, number
from esper_karn.log.reader import EventReader, Problem
from esper_karn.runs.folder import is_run, resolve_log
from esper_karn.runs.records import (
    RunGlance,
    RunRecord,
    glance,
    read_summary,
    status_text,
    summarize,
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
from esper_karn.text import printable
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
    "Form",
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
    "RunGlance",
    "RunRecord",
    "RunSeries",
    "RunState",
    "RunsTable",
    "Screen",
    "Series",
    "SlotState",
    "closing",
    "closing_table",
    "complain",
    "count",
    "fold",
    "follow",
    "glance",
    "guard_streams",
    "header",
    "is_run",
    "lost_output",
    "number",
    "printable",
    "progress",
    "read_summary",
    "reduce",
    "resolve_log",
    "round_line",
    "say",
    "status_text",
    "summarize",
]
