"""Every panel by name: its type, what selects it, and the event that changed it last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from esper_karn.state.run import RunState
from esper_karn.views import charts, decisions, hosts, log, policy, profile, rounds, summary


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        type: Type of its value.
        at: Returns the sequence number of the event that changed it last.
        select: Returns its value.
    """

    type: type
    at: Callable[[RunState], int]
    select: Callable[[RunState], Any]


def _latest(sequences: Iterable[int]) -> int:
    return max(sequences, default=-1)


def _machine_at(state: RunState) -> int:
    stamps = (each.sequence for each in (state.vitals, state.throughput) if each)
    return _latest([state.workers.at, *stamps])


def _profiles_at(state: RunState) -> int:
    measured = (each.profile.sequence for each in state.environments if each.profile)
    return _latest([state.report_at, *measured])


def _policy_at(state: RunState) -> int:
    return max(state.update_at, state.report_at)


def _charts_at(state: RunState) -> int:
    vitals = state.vitals.sequence if state.vitals else -1
    return max(state.update_at, state.report_at, vitals)


PANELS: Mapping[str, Panel] = MappingProxyType(
    {
        "header": Panel(summary.Header, lambda state: state.cursor.sequence, summary.header),
        "phase": Panel(
            summary.PhaseView,
            lambda state: state.phase.sequence if state.phase else -1,
            summary.phase,
        ),
        "health": Panel(
            summary.Health,
            lambda state: _latest(each.at for each in state.verdicts.values()),
            summary.health,
        ),
        "machine": Panel(summary.Machine, _machine_at, summary.machine),
        "log": Panel(log.Log, lambda state: state.notices.at, log.log_lines),
        "hosts": Panel(
            hosts.Hosts,
            lambda state: _latest(each.at for each in state.environments),
            hosts.hosts,
        ),
        "profiles": Panel(profile.Profiles, _profiles_at, profile.profiles),
        "leaderboard": Panel(
            hosts.LeaderboardView, lambda state: state.leaderboard.at, hosts.leaderboard
        ),
        "policy": Panel(policy.Policy, _policy_at, policy.policy),
        "rewards": Panel(policy.Rewards, lambda state: state.rewards.at, policy.rewards),
        "rounds": Panel(rounds.Rounds, lambda state: state.report_at, rounds.rounds),
        "decisions": Panel(
            decisions.DecisionsView, lambda state: state.decisions.at, decisions.decisions
        ),
        "charts": Panel(charts.Charts, _charts_at, charts.charts),
    }
)
"""Every panel of a run."""
