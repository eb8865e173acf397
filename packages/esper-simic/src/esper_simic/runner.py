"""Training a policy with PPO, round by round."""

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
    TrainingConfig,
)
from esper_leyline.events import PPOUpdate
from esper_simic.errors import SimicError, SkippedUpdatesError
from esper_simic.ppo.actor import PolicyActor
from esper_simic.ppo.anomalies import detect_anomalies, thresholds_for
from esper_simic.ppo.minibatches import check_shares
from esper_simic.ppo.policy import TrainablePolicy
from esper_simic.ppo.ppo import BAD_OBSERVATION, BAD_REWARD, PPOUpdater
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.collect import RunOutcome, action_seed, episode_seeds, play_round

MOST_SKIPS = 3
"""Skipped updates in a row that end a run."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """The rounds that are complete, and the learner as it was after the last of them."""

    rounds: tuple[RoundSummary, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


def never() -> bool:
    """Returns False: no stop was requested."""
    return False


class PPOTrainer:
    """Trains a policy on an environment.

    Everything random follows from the run seed and the round's number, so a run that is
    taken up again from a round's end goes on exactly as one that was never broken off.

    Args:
        environment: The hosts.
        policy: Trained in place.
        reward: Pays for steps.
        config: ``seed``, ``n_episodes``, ``n_envs``, ``ppo``, ``checkpoints`` and
            ``policy.floors`` are read.
        telemetry: Where events go.
        checkpoint: Called with the state after the last complete round, tensors on the CPU:
            after the first round, then as ``config.checkpoints`` says, and when a run ends,
            whether it completed, was interrupted or failed.

    Raises:
        SimicError: If the environment has fewer hosts than ``n_envs``, or ``n_envs`` is
            less than ``ppo.minibatches``.
    """

    def __init__(
        self,
        environment: Environment,
        policy: TrainablePolicy,
        reward: RewardFunction,
        config: TrainingConfig,
        telemetry: Telemetry | None = None,
        *,
        checkpoint: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        check_environments(environment, config)
        check_shares(config.n_envs, config.ppo.minibatches)
        self._environment = environment
        self._policy = policy
        self._reward = reward
        self._config = config
        self._telemetry = telemetry or NullTelemetry()
        self._checkpoint = checkpoint or _keep_nothing
        self._updater = PPOUpdater(policy, config.ppo)
        self._thresholds = thresholds_for(
            config.policy, len(environment.spec.slots), environment.spec.blueprint_choices
        )
        self._finished = _Finished()
        self._written = monotonic()
        self._discarded = 0
        self._skipped: str | None = None
        self._saved: int | None = None

    @property
    def rounds(self) -> tuple[RoundSummary, ...]:
        """Every complete round so far, those before a resumption included."""
        return self._finished.rounds

    @property
    def rounds_completed(self) -> int:
        """Rounds whose updates the policy contains."""
        return len(self._finished.rounds)

    def run(self, rounds: int | None = None, should_stop: Callable[[], bool] = never) -> RunOutcome:
        """Trains until ``rounds`` rounds are complete, earlier ones of a resumed run counted.

        Args:
            rounds: ``config.n_episodes`` if not given.
            should_stop: Asked before every step; the round that it breaks off is
                discarded, and the policy is as it was at the round's start.

        Raises:
            SkippedUpdatesError: If three updates in a row met numbers that are not finite.

        Whatever is raised, a checkpoint of the complete rounds is written first.
        """
        wanted = self._config.n_episodes if rounds is None else rounds
        self._finish_round(self.rounds)
        self._written = monotonic()
        try:
            status = self._train(wanted, should_stop)
        except BaseException as error:
            self._save_before(error)
            raise
        self.save()
        return RunOutcome(status=status, rounds=self.rounds, discarded_steps=self._discarded)

    def save(self) -> None:
        """Writes a checkpoint of the complete rounds, unless the last one holds them all."""
        before, self._saved = self._saved, self.rounds_completed
        if before == self._saved:
            return
        try:
            self._checkpoint(self._finished.state)
        except BaseException:
            self._saved = before
            raise
        self._written = monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Returns what an exact continuation at a round's end needs; tensors are not copied."""
        return {
            "policy": self._policy.state_dict(),
            "updater": self._updater.state_dict(),
            "rounds": [summary.model_dump(mode="json") for summary in self.rounds],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` returned."""
        self._policy.load_state_dict(state["policy"])
        self._updater.load_state_dict(state["updater"])
        if self._updater.consecutive_skips >= MOST_SKIPS:
            self._updater.consecutive_skips = 0  # they have ended the run that is resumed
        rounds = [RoundSummary.model_validate(summary) for summary in state["rounds"]]
        self._finish_round(tuple(rounds))

    def _train(self, wanted: int, should_stop: Callable[[], bool]) -> RunStatus:
        while self.rounds_completed < wanted:
            if not self._play_and_learn(should_stop):
                return RunStatus.INTERRUPTED
            self._check_skips()
            if self._checkpoint_is_due():
                self.save()
        return RunStatus.COMPLETED

    def _play_and_learn(self, should_stop: Callable[[], bool]) -> bool:
        number, seed = self.rounds_completed + 1, self._config.seed
        recorder = RoundRecorder(
            self._telemetry, round_number=number, environments=self._config.n_envs
        )
        actor = PolicyActor(self._policy, self._updater.units, rng_seed=action_seed(seed, number))
        unfinished = play_round(
            self._environment,
            actor,
            self._reward,
            recorder,
            rng_seeds=episode_seeds(seed, number, self._config.n_envs),
            should_stop=should_stop,
        )
        if unfinished is not None:
            self._discarded = unfinished
            return False
        with recorder.watch.measure("update"):
            update = self._updater.update(actor.rollout(), round_number=number)
        self._report(update, number)
        if update.skipped is not None:
            self._undo_update()
        self._skipped = update.skipped
        self._finish_round((*self.rounds, recorder.finish()))
        return True

    def _undo_update(self) -> None:
        """Takes the learner back to the end of the last round; only its counters go on."""
        updater = self._updater
        episodes, skips = updater.episodes, updater.consecutive_skips
        self._policy.load_state_dict(self._finished.state["policy"])
        updater.load_state_dict(self._finished.state["updater"])
        updater.episodes, updater.consecutive_skips = episodes, skips

    def _finish_round(self, rounds: tuple[RoundSummary, ...]) -> None:
        """Keeps a copy of the learner, which the next update may leave half changed."""
        state = self.state_dict()
        state["rounds"] = [summary.model_dump(mode="json") for summary in rounds]
        # One assignment, so that no interruption parts the rounds from their state.
        self._finished = _Finished(rounds, _on_cpu(state))

    def _checkpoint_is_due(self) -> bool:
        policy = self._config.checkpoints
        return (
            self._saved is None
            or self.rounds_completed % policy.every == 0
            or monotonic() - self._written >= policy.minutes * 60
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
            consecutive_skips=self._updater.consecutive_skips,
        ):
            self._telemetry.emit(anomaly, round=number)

    def _check_skips(self) -> None:
        if self._updater.consecutive_skips < MOST_SKIPS:
            return
        self.save()
        raise _skipped_updates(self._skipped or "", self.rounds_completed, self._config.ppo)


def _skipped_updates(reason: str, rounds: int, config: PPOConfig) -> SkippedUpdatesError:
    """Says why updates were skipped, and what can be changed about it."""
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


def check_environments(environment: Environment, config: TrainingConfig) -> None:
    """Checks that an environment has room for a round.

    Raises:
        SimicError: If it has fewer hosts than ``config.n_envs``.
    """
    if environment.spec.environments < config.n_envs:
        raise SimicError(
            f"n_envs is {config.n_envs}, the environment has {environment.spec.environments} "
            "hosts; build it with as many"
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
