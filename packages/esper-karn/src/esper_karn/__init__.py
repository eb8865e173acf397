"""Memory of Esper: event reader, reducer, view models and the console view."""

from esper_karn.closing import Closing, ClosingRow, Learning, closing
from esper_karn.console import ConsoleView, follow
from esper_karn.errors import KarnError
from esper_karn.layout import Column, FittedTable, Form
from esper_karn.reader import EventReader, Problem
from esper_karn.reducer import fold, reduce
from esper_karn.rounds import RoundBlock, RoundHistory
from esper_karn.run_folder import is_run, resolve_log
from esper_karn.runs_table import RunsTable
from esper_karn.screen import Screen, complain, say
from esper_karn.selectors import Header, Progress, RoundLine, header, progress, round_line
from esper_karn.series import Bucket, Series
from esper_karn.state import (
    Cursor,
    EnvironmentState,
    Notice,
    Notices,
    RunFacts,
    RunSeries,
    RunState,
    SlotState,
)
from esper_karn.streams import guard_streams, lost_output
from esper_karn.summaries import (
    RunGlance,
    RunRecord,
    glance,
    read_summary,
    status_text,
    summarize,
)
from esper_karn.table import ClosingTable, closing_table
from esper_karn.text import printable
from esper_karn.wording import count, number

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
