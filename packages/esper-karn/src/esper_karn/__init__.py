"""Memory of Esper: event reader, reducer, view models and the console view."""

from esper_karn.console.closing_table import ClosingTable
from esper_karn.console.console_view import ConsoleView, follow
from esper_karn.console.dashboard.dashboard import Dashboard
from esper_karn.console.dashboard.screen import has_room, watch
from esper_karn.console.profiles_table import ProfilesTable
from esper_karn.console.runs_table import RunsTable
from esper_karn.console.screen import SafeConsole, echo, echo_all, echo_error
from esper_karn.console.streams import guard_streams, output_failure
from esper_karn.errors import KarnError
from esper_karn.formatting import MISSING, format_count, format_number, format_significant
from esper_karn.log.reader import EventReader, Problem
from esper_karn.pictures.growth import growth_svg
from esper_karn.runs.folder import is_run_directory, resolve_log
from esper_karn.runs.frames import run_condition, run_frame
from esper_karn.runs.listing import RunRow, RunsList, list_runs
from esper_karn.runs.liveness import (
    Liveness,
    crash_command,
    liveness_of,
    liveness_text,
    resume_command,
)
from esper_karn.runs.records import (
    RunPeek,
    RunRecord,
    peek,
    read_run,
    read_summary,
)
from esper_karn.snapshots.run_reader import RunReader
from esper_karn.state.decisions import DecisionRecord
from esper_karn.state.episode import Episode, Lifeline, StageSpan
from esper_karn.state.health import CHECKS, Check, Verdict
from esper_karn.state.leaderboard import RankedEpisode
from esper_karn.state.reducer import Folding, fold, reduce
from esper_karn.state.rounds import Mean, RoundHistory, RoundStats
from esper_karn.state.run import (
    Cursor,
    Decisions,
    EnvironmentState,
    Leaderboard,
    Notice,
    Notices,
    RewardSums,
    RunState,
    Workers,
)
from esper_karn.state.run_report import RunReport, Trend
from esper_karn.state.series import Bucket, Series
from esper_karn.state.stamped import Stamped
from esper_karn.terminal.layout import Column, FittedTable, TableVariant
from esper_karn.views.charts import Charts, charts
from esper_karn.views.condition import Condition
from esper_karn.views.decisions import DecisionCard, DecisionsView, decisions
from esper_karn.views.frame import VIEWS, Frame, PanelFrame, SeriesFrame, encode_frame, frame
from esper_karn.views.growth import GrowthView, growth_view
from esper_karn.views.host import HostView, host_view
from esper_karn.views.hosts import Hosts, LeaderboardView, hosts, leaderboard
from esper_karn.views.levels import level_needed
from esper_karn.views.log import Log, LogLine, log_lines
from esper_karn.views.moment import Moment, moment
from esper_karn.views.policy import Policy, Rewards, policy, rewards
from esper_karn.views.profile import Profiles, profiles
from esper_karn.views.progress import Progress, progress
from esper_karn.views.rounds import Rounds, RoundView, round_view, rounds
from esper_karn.views.summary import (
    Header,
    Health,
    Machine,
    PhaseView,
    header,
    health,
    machine,
    phase,
)

__all__ = [
    "CHECKS",
    "MISSING",
    "VIEWS",
    "Bucket",
    "Charts",
    "Check",
    "ClosingTable",
    "Column",
    "Condition",
    "ConsoleView",
    "Cursor",
    "Dashboard",
    "DecisionCard",
    "DecisionRecord",
    "Decisions",
    "DecisionsView",
    "EnvironmentState",
    "Episode",
    "EventReader",
    "FittedTable",
    "Folding",
    "Frame",
    "GrowthView",
    "Header",
    "Health",
    "HostView",
    "Hosts",
    "KarnError",
    "Leaderboard",
    "LeaderboardView",
    "Lifeline",
    "Liveness",
    "Log",
    "LogLine",
    "Machine",
    "Mean",
    "Moment",
    "Notice",
    "Notices",
    "PanelFrame",
    "PhaseView",
    "Policy",
    "Problem",
    "Profiles",
    "ProfilesTable",
    "Progress",
    "RankedEpisode",
    "RewardSums",
    "Rewards",
    "RoundHistory",
    "RoundStats",
    "RoundView",
    "Rounds",
    "RunPeek",
    "RunReader",
    "RunRecord",
    "RunReport",
    "RunRow",
    "RunState",
    "RunsList",
    "RunsTable",
    "SafeConsole",
    "Series",
    "SeriesFrame",
    "StageSpan",
    "Stamped",
    "TableVariant",
    "Trend",
    "Verdict",
    "Workers",
    "charts",
    "crash_command",
    "decisions",
    "echo",
    "echo_all",
    "echo_error",
    "encode_frame",
    "fold",
    "follow",
    "format_count",
    "format_number",
    "format_significant",
    "frame",
    "growth_svg",
    "growth_view",
    "guard_streams",
    "has_room",
    "header",
    "health",
    "host_view",
    "hosts",
    "is_run_directory",
    "leaderboard",
    "level_needed",
    "list_runs",
    "liveness_of",
    "liveness_text",
    "log_lines",
    "machine",
    "moment",
    "output_failure",
    "peek",
    "phase",
    "policy",
    "profiles",
    "progress",
    "read_run",
    "read_summary",
    "reduce",
    "resolve_log",
    "resume_command",
    "rewards",
    "round_view",
    "rounds",
    "run_condition",
    "run_frame",
    "watch",
]
