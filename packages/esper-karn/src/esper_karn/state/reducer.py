"""Folds events into a run's state: a pure function, the same for any split of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from esper_karn.state import host_cases, policy_cases, run_cases
from esper_karn.state.draft import Draft
from esper_karn.state.episode import Episode
from esper_karn.state.episode_draft import EpisodeDraft
from esper_karn.state.run import Cursor, RunState
from esper_leyline.events import LIFECYCLE_KINDS, Event, RunStarted


def reduce(state: RunState, event: Event) -> RunState:
    """Returns the state after one more event; ``Folding`` is much faster for many.

    An event whose sequence number was seen before changes nothing, so a log may be read
    again from its start. An event of another run starts a new state.
    """
    return fold((event,), state)


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """Returns the state after many events, from the given state or from the initial one."""
    folding = Folding(state)
    changed = folding.take_all(events)
    return folding.state() if changed or state is None else state


class Folding:
    """Folds events one after another; its state may be taken at any of them.

    It is what a reader of a log needs: it changes its parts in place, and ``state`` freezes only
    those that changed since it was called last.

    Args:
        state: Where it starts, the initial state by default.
    """

    def __init__(self, state: RunState | None = None) -> None:
        self._state: RunState | None = state or RunState()
        self._draft = Draft.of(self._state)

    @property
    def sequence(self) -> int:
        """Sequence number of the latest event, -1 before the first."""
        return self._draft.sequence

    def take(self, event: Event) -> bool:
        """Folds one event; returns whether it was new."""
        draft = self._draft
        known = draft.cursor.run_id
        if event.run_id is not None and event.run_id != known:
            if known is None:
                draft.cursor = replace(draft.cursor, run_id=event.run_id)
            else:
                self._draft = draft = Draft.of(RunState(cursor=Cursor(run_id=event.run_id)))
        if event.sequence <= draft.sequence:
            return False
        self._state = None
        if draft.sequence < 0 or event.boot != draft.cursor.boot:
            draft.start_boot(event, _worked(draft))
        draft.missing += event.sequence - draft.sequence - 1
        draft.coalesced += event.coalesced
        draft.sequence = event.sequence
        draft.monotonic = event.monotonic
        draft.last_wall = event.wall_time
        payload = event.payload
        kind = payload.kind
        if kind in _OF_ENVIRONMENTS and (
            event.environment is None or not draft.has_room_for(event.environment)
        ):
            return True
        for case in _CASES[kind]:
            case(draft, event, payload)
        return True

    def take_all(self, events: Iterable[Event]) -> bool:
        """Folds many events; returns whether any was new."""
        changed = False
        for event in events:
            changed |= self.take(event)
        return changed

    def state(self) -> RunState:
        """Returns the state after the events so far."""
        if self._state is None:
            self._state = self._draft.freeze()
        return self._state


def rounds_worked(state: RunState) -> float:
    """Returns the number of finished rounds plus the finished share of the current one."""
    episodes = [each.episode for each in state.environments]
    return _rounds_worked(state.report.rounds_done, episodes, state.started)


def _worked(draft: Draft) -> float:
    episodes = [each.episode for each in draft.environments.values()]
    return _rounds_worked(draft.report.rounds_done, episodes, draft.started)


def _rounds_worked(
    done: int, episodes: Sequence[Episode | EpisodeDraft], started: RunStarted | None
) -> float:
    current = [each for each in episodes if each.round > done]
    if not current:
        return float(done)
    config = started.config if started else None
    hosts = max(config.n_envs if config else 0, len(current))
    epochs = config.max_epochs if config else None
    return done + sum(_share(each, epochs) for each in current) / hosts


def _share(episode: Episode | EpisodeDraft, max_epochs: int | None) -> float:
    if episode.ended is not None:
        return 1.0
    return episode.epochs / max_epochs if max_epochs else 0.0


_Case = Callable[[Draft, Event, Any], None]

_OF_ENVIRONMENTS = LIFECYCLE_KINDS | {
    "episode_started",
    "epoch_completed",
    "episode_outcome",
    "counterfactual_matrix",
    "shapley_measured",
    "profile_measured",
    "test_evaluated",
}
"""Kinds that change an environment; an event that names none changes nothing."""

_CASES: Mapping[str, tuple[_Case, ...]] = MappingProxyType(
    {
        "run_started": (run_cases.run_started,),
        "run_phase": (run_cases.run_phase,),
        "environment_built": (run_cases.environment_built,),
        "run_resumed": (run_cases.run_resumed,),
        "run_completed": (run_cases.run_completed,),
        "run_failed": (run_cases.run_failed,),
        "checkpoint_saved": (run_cases.checkpoint,),
        "checkpoint_loaded": (run_cases.checkpoint,),
        "round_completed": (run_cases.round_completed,),
        "throughput": (run_cases.throughput,),
        "vitals": (run_cases.vitals,),
        "worker_restarted": (host_cases.anomaly, run_cases.worker_restarted),
        "memory_warning": (host_cases.anomaly,),
        "throughput_warning": (host_cases.anomaly,),
        "ppo_update": (policy_cases.ppo_update,),
        "decision": (policy_cases.decision, host_cases.decision),
        "episode_started": (host_cases.episode_started,),
        "epoch_completed": (host_cases.epoch_completed,),
        "episode_outcome": (host_cases.episode_outcome,),
        "seed_germinated": (host_cases.seed_event,),
        "seed_stage_changed": (host_cases.seed_event,),
        "seed_gate_evaluated": (host_cases.seed_event,),
        "seed_fossilized": (host_cases.seed_event,),
        "seed_pruned": (host_cases.seed_event,),
        "counterfactual_matrix": (host_cases.counterfactuals,),
        "shapley_measured": (host_cases.shapley,),
        "test_evaluated": (host_cases.test_evaluated,),
        "profile_measured": (host_cases.profile_measured,),
        "host_stabilized": (host_cases.host_change,),
        "plateau_detected": (host_cases.host_change,),
        "degradation_detected": (host_cases.host_change,),
        "improvement_detected": (host_cases.host_change,),
        "governor_rolled_back": (host_cases.anomaly,),
        "numerical_instability": (host_cases.anomaly,),
        "reward_hacking_suspected": (host_cases.anomaly,),
        "ratio_explosion": (host_cases.anomaly,),
        "ratio_collapse": (host_cases.anomaly,),
        "value_collapse": (host_cases.anomaly,),
        "entropy_collapse": (host_cases.anomaly,),
        "gradient_pathology": (host_cases.anomaly,),
        "performance_degradation": (host_cases.anomaly,),
    }
)
