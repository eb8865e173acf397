"""Trains a policy on hosts with PPO, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from torch import Tensor

from esper_leyline import (
    Environment,
    EsperError,
    NullTelemetry,
    PPOConfig,
    RewardFunction,
    RoundSummary,
    RunStatus,
    Telemetry,
)
from esper_leyline.config.training import CheckpointConfig
from esper_leyline.events import Phase, PPOUpdate, RunPhase
from esper_simic.errors import SkippedUpdatesError
from esper_simic.ppo.actor import PolicyActor
from esper_simic.ppo.anomalies import AnomalyThresholds, detect_anomalies
from esper_simic.ppo.batch import check_minibatches
from esper_simic.ppo.policy import TrainableHostPolicy
from esper_simic.ppo.ppo import BAD_OBSERVATION, BAD_REWARD, PPO
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.collect import action_seed, collect_round, episode_seeds
from esper_simic.runner.outcome import RunOutcome, never

MOST_SKIPS = 3
"""Skipped updates in a row that end a run."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """The complete rounds, and the learner's state after the last of them."""

    rounds: tuple[RoundSummary, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


class PPORunner:
    """Trains a policy on all hosts of an environment.

    A run resumed at a round boundary is bit-identical to an uninterrupted one.

    Args:
        environment: The hosts; a round is one episode of each.
        policy: Trained in place.
        reward: Computes the reward of each step.
        config: Settings of PPO.
        telemetry: Receives the events.
        rng_seed: Hosts and sampled actions follow from it and the round's number.
        thresholds: Limits beyond which an update is reported as an anomaly;
            ``thresholds_for`` returns those of a policy with probability floors.
        checkpoints: When ``write_checkpoint`` is called.
        write_checkpoint: Called with the state after the last complete round, tensors on the CPU:
            after the first round, then as ``checkpoints`` says, and when a run ends, whether it
            completed, was interrupted or failed.
        compiled: Whether the first update compiles the policy; telemetry then gets that phase.

    Raises:
        SimicError: If there are more minibatches than hosts.
    """

    def __init__(
        self,
        environment: Environment,
        policy: TrainableHostPolicy,
        reward: RewardFunction,
        config: PPOConfig,
        telemetry: Telemetry | None = None,
        *,
        rng_seed: int = 0,
        thresholds: AnomalyThresholds | None = None,
        checkpoints: CheckpointConfig | None = None,
        write_checkpoint: Callable[[dict[str, Any]], None] | None = None,
        compiled: bool = False,
    ) -> None:
        self._hosts = environment.spec.environments
        check_minibatches(self._hosts, config.minibatches)
        self._environment = environment
        self._policy = policy
        self._reward = reward
        self._config = config
        self._telemetry = telemetry or NullTelemetry()
        self._rng_seed = rng_seed
        self._thresholds = thresholds or AnomalyThresholds()
        self._checkpoints = checkpoints or CheckpointConfig()
        self._write_checkpoint = write_checkpoint or _write_nothing
        self._ppo = PPO(policy, config)
        self._compiles_next = compiled
        self._finished = _Finished()
        self._saved_at = monotonic()
        self._discarded_steps = 0
        self._saved: int | None = None

    @property
    def rounds(self) -> tuple[RoundSummary, ...]:
        """Every complete round so far, including those before the run was resumed."""
        return self._finished.rounds

    @property
    def rounds_completed(self) -> int:
        """Rounds whose updates the policy contains."""
        return len(self._finished.rounds)

    def learn(self, rounds: int, should_stop: Callable[[], bool] = never) -> RunOutcome:
        """Trains until ``rounds`` rounds are complete, including those before a resumption.

        Args:
            rounds: Number of the last round.
            should_stop: Asked before every step. When it returns true, the current round is
                discarded, and the policy is as it was at the start of that round.

        Raises:
            SkippedUpdatesError: If three updates in a row met numbers that are not finite.

        Whatever is raised, a checkpoint of the complete rounds is written first.
        """
        status = RunStatus.COMPLETED
        self._finish_round(self.rounds)
        self._saved_at = monotonic()
        try:
            while self.rounds_completed < rounds:
                number = self.rounds_completed + 1
                recorder = self._recorder(number)
                if not self._collect(number, recorder, should_stop):
                    status = RunStatus.INTERRUPTED
                    break
                update = self._update(number, recorder)
                self._finish_round((*self.rounds, recorder.finish()))
                self._check_skips(update)
                if self._checkpoint_is_due():
                    self.save()
        except BaseException as error:
            self._save_before(error)
            raise
        self.save()
        return RunOutcome(status=status, rounds=self.rounds, discarded_steps=self._discarded_steps)

    def save(self) -> None:
        """Writes a checkpoint of the complete rounds, unless the last checkpoint has them all."""
        before, self._saved = self._saved, self.rounds_completed
        if before == self._saved:
            return
        try:
            self._write_checkpoint(self._finished.state)
        except BaseException:
            self._saved = before
            raise
        self._saved_at = monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state at a round boundary that resuming needs; tensors are not copied."""
        return {
            "policy": self._policy.state_dict(),
            "ppo": self._ppo.state_dict(),
            "rounds": [summary.model_dump(mode="json") for summary in self.rounds],
        }

    def load_state_dict(self, state: Mapping[str, Any], *, saved: bool = False) -> None:
        """Loads what ``state_dict`` returned.

        Args:
            state: The state.
            saved: Whether it is a checkpoint of this run, which need not be written again.
        """
        self._policy.load_state_dict(state["policy"])
        self._ppo.load_state_dict(state["ppo"])
        if self._ppo.consecutive_skips >= MOST_SKIPS:
            self._ppo.consecutive_skips = 0  # these ended the run that is resumed
        rounds = [RoundSummary.model_validate(summary) for summary in state["rounds"]]
        self._finish_round(tuple(rounds))
        if saved:
            self._saved = self.rounds_completed

    def _recorder(self, number: int) -> RoundRecorder:
        return RoundRecorder(self._telemetry, round_number=number, environments=self._hosts)

    def _collect(
        self, number: int, recorder: RoundRecorder, should_stop: Callable[[], bool]
    ) -> bool:
        """Plays a round; false if it was interrupted."""
        interrupted_at = collect_round(
            self._environment,
            PolicyActor(self._ppo, self._policy, rng_seed=action_seed(self._rng_seed, number)),
            self._reward,
            recorder.step,
            recorder.watch,
            rng_seeds=episode_seeds(self._rng_seed, number, self._hosts),
            should_stop=should_stop,
            record_start=recorder.start,
        )
        self._discarded_steps = interrupted_at or self._discarded_steps
        return interrupted_at is None

    def _update(self, number: int, recorder: RoundRecorder) -> PPOUpdate:
        """Learns from the round, and undoes an update that was skipped."""
        compiles, self._compiles_next = self._compiles_next, False
        if compiles:
            self._telemetry.emit(
                RunPhase(phase=Phase.COMPILING, detail="the first update compiles the policy")
            )
        with recorder.watch.measure("update"):
            update = self._ppo.update(round_number=number)
        if compiles:
            self._telemetry.emit(RunPhase(phase=Phase.TRAINING))
        self._report(update, number)
        if update.skipped is not None:
            self._undo_update()
        return update

    def _undo_update(self) -> None:
        """Restores the learner to the end of the last round, except for its counters."""
        ppo = self._ppo
        episodes, skips = ppo.episodes, ppo.consecutive_skips
        self._policy.load_state_dict(self._finished.state["policy"])
        ppo.load_state_dict(self._finished.state["ppo"])
        ppo.episodes, ppo.consecutive_skips = episodes, skips

    def _finish_round(self, rounds: tuple[RoundSummary, ...]) -> None:
        """Keeps a copy of the learner, which an interrupted update may leave half changed."""
        state = self.state_dict()
        state["rounds"] = [summary.model_dump(mode="json") for summary in rounds]
        # One assignment, so that an interrupt cannot separate the rounds from their state.
        self._finished = _Finished(rounds, _on_cpu(state))

    def _checkpoint_is_due(self) -> bool:
        return (
            self._saved is None
            or self.rounds_completed % self._checkpoints.every == 0
            or monotonic() - self._saved_at >= self._checkpoints.minutes * 60
        )

    def _save_before(self, error: BaseException) -> None:
        if not self.rounds:
            return
        try:
            self.save()
        except EsperError as unsaved:
            if str(unsaved) != str(error):
                error.add_note(str(unsaved))

    def _report(self, update: PPOUpdate, number: int) -> None:
        self._telemetry.emit(update, round=number)
        for anomaly in detect_anomalies(
            update,
            self._thresholds,
            round_number=number,
            consecutive_skips=self._ppo.consecutive_skips,
        ):
            self._telemetry.emit(anomaly, round=number)

    def _check_skips(self, update: PPOUpdate) -> None:
        if self._ppo.consecutive_skips < MOST_SKIPS:
            return
        self.save()
        raise _skipped_updates(update.skipped or "", self.rounds_completed, self._config)


def _skipped_updates(reason: str, rounds: int, config: PPOConfig) -> SkippedUpdatesError:
    """Returns the error that says why updates were skipped, and what to change."""
    changes: dict[str, float] = {}
    advice = "lower host.learning_rate or host.seed_learning_rate in a new run"
    if reason not in (BAD_REWARD, BAD_OBSERVATION):
        changes["ppo.learning_rate"] = config.learning_rate / 10
        if config.learning_rate_final is not None:
            changes["ppo.learning_rate_final"] = config.learning_rate_final / 10
        advice = (
            "resume from the checkpoint that was just written with a lower ppo.learning_rate "
            "or ppo.max_grad_norm"
        )
    return SkippedUpdatesError(
        f"{MOST_SKIPS} updates in a row were skipped, the last in round {rounds}: {reason}; "
        f"{advice}",
        changes,
    )


def _on_cpu(value: Any) -> Any:
    """Copies a state, with its tensors to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _on_cpu(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_on_cpu(each) for each in value]
    if isinstance(value, tuple):
        return tuple(_on_cpu(each) for each in value)
    return value


def _write_nothing(state: dict[str, Any]) -> None:
    """Writes no checkpoint."""
