"""Training a policy with PPO round by round, and playing rounds with controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from torch import Tensor

from esper_leyline import (
    Controller,
    Environment,
    EsperError,
    NullTelemetry,
    PPOConfig,
    RewardFunction,
    RoundSummary,
    RunStatus,
    Telemetry,
    TrainingConfig,
)
from esper_leyline.events import Phase, PPOUpdate, RunPhase
from esper_simic.errors import SimicError, SkippedUpdatesError
from esper_simic.ppo.actor import PolicyActor
from esper_simic.ppo.anomalies import detect_anomalies, thresholds_for
from esper_simic.ppo.batch import check_minibatches
from esper_simic.ppo.policy import TrainableHostPolicy
from esper_simic.ppo.ppo import BAD_OBSERVATION, BAD_REWARD, PPO
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.actor import Actor, ControllerActor
from esper_simic.rollout.collect import action_seed, collect_round, episode_seeds

MOST_SKIPS = 3
"""Skipped updates in a row that end a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run of rounds ended.

    Attributes:
        status: Completed, or interrupted between two steps.
        rounds: Every complete round, including those before the run was resumed.
        discarded_steps: Steps of the interrupted round. Nothing was learnt from them, and no
            event of a round covers them.
    """

    status: RunStatus
    rounds: tuple[RoundSummary, ...]
    discarded_steps: int = 0


@dataclass(frozen=True, slots=True)
class _Finished:
    """The complete rounds, and the learner's state after the last of them."""

    rounds: tuple[RoundSummary, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


def never() -> bool:
    """Returns False: no stop was requested."""
    return False


class PPORunner:
    """Trains a policy on hosts.

    Everything random follows from the run seed and the round's number. A run resumed at a round
    boundary is bit-identical to an uninterrupted one.

    Args:
        environment: The hosts.
        policy: Trained in place.
        reward: Computes the reward of each step.
        config: ``seed``, ``n_episodes``, ``n_envs``, ``ppo``, ``checkpoints`` and
            ``policy.floors`` are read.
        telemetry: Receives the events.
        checkpoint: Called with the state after the last complete round, tensors on the CPU:
            after the first round, then as ``config.checkpoints`` says, and when a run ends,
            whether it completed, was interrupted or failed.
        compiled: Whether the first update compiles the policy; telemetry then gets that phase.

    Raises:
        SimicError: If the environment has fewer hosts than ``n_envs``, or ``n_envs`` is
            less than ``ppo.minibatches``.
    """

    def __init__(
        self,
        environment: Environment,
        policy: TrainableHostPolicy,
        reward: RewardFunction,
        config: TrainingConfig,
        telemetry: Telemetry | None = None,
        *,
        checkpoint: Callable[[dict[str, Any]], None] | None = None,
        compiled: bool = False,
    ) -> None:
        check_environments(environment, config)
        check_minibatches(config.n_envs, config.ppo.minibatches)
        self._environment = environment
        self._policy = policy
        self._reward = reward
        self._config = config
        self._telemetry = telemetry or NullTelemetry()
        self._checkpoint = checkpoint or _keep_nothing
        self._ppo = PPO(policy, config.ppo)
        self._compiles_next = compiled
        spec = environment.spec
        self._thresholds = thresholds_for(config.policy, len(spec.slots), spec.blueprint_choices)
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

    def learn(
        self, rounds: int | None = None, should_stop: Callable[[], bool] = never
    ) -> RunOutcome:
        """Trains until ``rounds`` rounds are complete, including those before a resumption.

        Args:
            rounds: ``config.n_episodes`` if not given.
            should_stop: Asked before every step. When it returns true, the current round is
                discarded, and the policy is as it was at the start of that round.

        Raises:
            SkippedUpdatesError: If three updates in a row met numbers that are not finite.

        Whatever is raised, a checkpoint of the complete rounds is written first.
        """
        last = self._config.n_episodes if rounds is None else rounds
        status = RunStatus.COMPLETED
        self._finish_round(self.rounds)
        self._saved_at = monotonic()
        try:
            while self.rounds_completed < last:
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
            self._checkpoint(self._finished.state)
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
        environments = self._config.n_envs
        return RoundRecorder(self._telemetry, round_number=number, environments=environments)

    def _collect(
        self, number: int, recorder: RoundRecorder, should_stop: Callable[[], bool]
    ) -> bool:
        """Plays a round; false if it was interrupted."""
        seed = self._config.seed
        interrupted_at = collect_round(
            self._environment,
            PolicyActor(self._ppo, self._policy, rng_seed=action_seed(seed, number)),
            self._reward,
            recorder.step,
            recorder.watch,
            rng_seeds=episode_seeds(seed, number, self._config.n_envs),
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
        policy = self._config.checkpoints
        return (
            self._saved is None
            or self.rounds_completed % policy.every == 0
            or monotonic() - self._saved_at >= policy.minutes * 60
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
        raise _skipped_updates(update.skipped or "", self.rounds_completed, self._config.ppo)


def run_controllers(
    environment: Environment,
    controllers: Sequence[Controller],
    reward: RewardFunction,
    config: TrainingConfig,
    telemetry: Telemetry | None = None,
    *,
    rounds: int | None = None,
    first_round: int = 1,
    should_stop: Callable[[], bool] = never,
    after_round: Callable[[RoundSummary], None] | None = None,
) -> RunOutcome:
    """Plays rounds with one controller for each environment; nothing is learnt.

    Args:
        environment: The hosts.
        controllers: ``config.n_envs`` of them.
        reward: Computes the reward of each step, so that returns can be compared.
        config: ``seed``, ``n_episodes`` and ``n_envs`` are read; the hosts of a round
            are those that ``PPORunner`` trains on with the same seed.
        telemetry: Receives the events.
        rounds: ``config.n_episodes`` if not given.
        first_round: Number of the first of them, so that any
            rounds of a ``PPORunner`` can be played on the same hosts.
        should_stop: Asked before every step; the interrupted round is discarded.
        after_round: Called with each complete round, even if the run fails later.

    Raises:
        SimicError: If the numbers of controllers, hosts and environments do not agree.
    """
    check_environments(environment, config)
    events = telemetry or NullTelemetry()
    actor: Actor = ControllerActor(controllers)
    summaries: list[RoundSummary] = []
    count = config.n_episodes if rounds is None else rounds
    for number in range(first_round, first_round + count):
        recorder = RoundRecorder(events, round_number=number, environments=config.n_envs)
        interrupted_at = collect_round(
            environment,
            actor,
            reward,
            recorder.step,
            recorder.watch,
            rng_seeds=episode_seeds(config.seed, number, config.n_envs),
            should_stop=should_stop,
            record_start=recorder.start,
        )
        if interrupted_at is not None:
            return RunOutcome(
                status=RunStatus.INTERRUPTED,
                rounds=tuple(summaries),
                discarded_steps=interrupted_at,
            )
        summaries.append(recorder.finish())
        if after_round is not None:
            after_round(summaries[-1])
    return RunOutcome(status=RunStatus.COMPLETED, rounds=tuple(summaries))


def check_environments(environment: Environment, config: TrainingConfig) -> None:
    """Checks that an environment has enough hosts for a round.

    Raises:
        SimicError: If it has fewer hosts than ``config.n_envs``.
    """
    if environment.spec.environments < config.n_envs:
        raise SimicError(
            f"n_envs is {config.n_envs}, the environment has {environment.spec.environments} "
            "hosts; build it with as many"
        )


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


def _keep_nothing(state: dict[str, Any]) -> None:
    """Writes no checkpoint."""
