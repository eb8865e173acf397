"""One host's episode: command, epoch, validation, governor, report."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor

from esper_leyline import (
    CommandResult,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    Op,
    Rollback,
    SeedEvent,
    SeedEventKind,
    SeedStage,
    StepReport,
)
from esper_leyline.commands import to_command
from esper_leyline.observation import HISTORY
from esper_tolaria.datasets.splits import Split
from esper_tolaria.engine.governor import EpochStats, Governor, Instability
from esper_tolaria.engine.precision import build_precision
from esper_tolaria.engine.setup import HostSetup
from esper_tolaria.engine.trainer import Trainer
from esper_tolaria.errors import TolariaError
from esper_tolaria.profiles.profiler import HostProfiler
from esper_tolaria.validation.counterfactuals import (
    FULL_ONLY,
    compare,
)
from esper_tolaria.validation.validate import ScoreRequest, Scores, Validation, read, score

FULL_REQUEST = ScoreRequest(disabled=FULL_ONLY.disabled)
"""Counts for the whole host only."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A host's state after a stable epoch."""

    epoch: int
    host: object


class Episode:
    """One host from its creation until the horizon or a rollback.

    A step calls, in this order: ``begin``, ``train_batch`` for every batch,
    ``choose_counterfactuals``, ``validate`` or ``take_scores``, ``finish``. They are separate so
    that several hosts can share each batch.
    """

    def __init__(
        self, setup: HostSetup, *, environment: int, rng_seed: int, device: torch.device
    ) -> None:
        self._setup = setup
        self._host = setup.build_host(rng_seed, device)
        precision = build_precision(setup.config, device)
        self._profiler = profiler = self._build_profiler(rng_seed)
        self._trainer = Trainer(
            self._host,
            setup.training,
            rng_seed=rng_seed,
            device=device,
            precision=precision,
            observe_gradients=None if profiler is None else profiler.record_gradients,
        )
        self._precision = precision
        self._governor = Governor(setup.task.data.classes, setup.config.governor)
        self._snapshot = Snapshot(0, self._host.snapshot())
        self._history: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._wasted = 0
        self._action: FactoredAction | None = None
        self._result = CommandResult(accepted=True)
        self._required = setup.config.counterfactuals
        self._comparison = FULL_ONLY
        self._scores: Scores | None = None
        self._seconds: dict[str, float] = {}
        counts = self._host.parameter_counts()
        self.report = StepReport(
            environment=environment,
            rng_seed=rng_seed,
            epoch=0,
            max_epochs=setup.config.max_epochs,
            seeds=self._host.seed_reports(),
            host_parameters=counts.host,
            fossil_parameters=counts.fossil,
            live_parameters=counts.live,
        )

    @property
    def trainer(self) -> Trainer:
        """The host's trainer, which a stack of hosts needs."""
        return self._trainer

    @property
    def running(self) -> bool:
        """Whether there are epochs left to train."""
        return self.report.ended is None

    def begin(self, action: FactoredAction) -> None:
        """Applies an action and prepares the host for its epoch.

        Raises:
            TolariaError: If the action names a slot that is not enabled.
        """
        started = perf_counter()
        self._action = action
        self._result = self._apply(action)
        self._trainer.sync()
        self._trainer.start_epoch(self.report.epoch + 1)
        if self._profiler is not None:
            self._profiler.start_epoch(self.report.epoch + 1)
        self._seconds = {"command": perf_counter() - started}

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains on one batch."""
        self._trainer.train_batch(inputs, targets, last=last)

    def choose_counterfactuals(self) -> ScoreRequest:
        """Chooses the configurations that this epoch's validation evaluates."""
        epoch, last = self.report.epoch + 1, self.report.max_epochs
        self._comparison = compare(
            self._host.seed_reports(),
            self._required,
            last=epoch >= last,
            key=(self.report.rng_seed, epoch),
        )
        profiler = self._profiler
        by_class = profiler is not None and profiler.wants_class_accuracy
        return ScoreRequest(disabled=self._comparison.disabled, by_class=by_class)

    def validate(self, split: Split, request: ScoreRequest) -> None:
        """Launches the validation of the host and of every counterfactual."""
        started = perf_counter()
        scores = self._score(split, request)
        self.take_scores(split, scores, perf_counter() - started)

    def take_scores(self, split: Split, scores: Scores, seconds: float) -> None:
        """Takes the validation's results, and the seconds that this host's share of it took."""
        self._host.train(False)
        self._scores = scores
        self._seconds["validate"] = seconds
        if self._profiler is not None:
            self._profiler.measure(lambda: self._score(split, FULL_REQUEST).loss)

    def finish(self, targets: Tensor, train_seconds: float) -> StepReport:
        """Ends the epoch: lifecycle, governor and report.

        Args:
            targets: [N] or [N, T], of the epoch's training rows in batch order.
            train_seconds: This host's share of the training time.
        """
        started = perf_counter()
        assert self._scores is not None
        train_loss, train_accuracy = self._trainer.epoch_metrics(targets)
        validation = read(self._scores, self._comparison)
        self._seconds["train"] = train_seconds
        self._seconds["validate"] += perf_counter() - started
        profile = None if self._profiler is None else self._profiler.read(self._scores)
        if profile is not None:
            self._seconds["profile"] = profile.seconds

        started = perf_counter()
        self._host.record_validation(validation.accuracy, validation.measurements)
        self._history.append((validation.loss, validation.accuracy))
        instability = self._check(train_loss, validation)
        epoch = self.report.epoch + 1
        events = self._end_epoch(epoch) if instability is None else self._roll_back()
        report = self._describe(epoch, validation, events, instability)
        self._seconds["lifecycle"] = perf_counter() - started
        self.report = replace(
            report,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            profile=profile,
            seconds=self._seconds,
        )
        return self.report

    def evaluate(self, split: Split) -> EvaluationReport:
        """Evaluates the host on the test split."""
        found = read(self._score(split, FULL_REQUEST), FULL_ONLY)
        return EvaluationReport(
            environment=self.report.environment,
            rng_seed=self.report.rng_seed,
            test_loss=found.loss,
            test_accuracy=found.accuracy,
            parameters=self.report.total_parameters,
        )

    def _build_profiler(self, rng_seed: int) -> HostProfiler | None:
        profile = self._setup.profile
        if profile is None:
            return None
        return HostProfiler(
            self._host, profile, rng_seed=rng_seed, max_epochs=self._setup.config.max_epochs
        )

    def _score(self, split: Split, request: ScoreRequest) -> Scores:
        with self._precision.autocast():
            return score(self._host, split, request, self._setup.task.data.classes)

    def _apply(self, action: FactoredAction) -> CommandResult:
        slots, task = self._setup.slots, self._setup.task
        if not 0 <= action.slot < len(slots):
            raise TolariaError(
                f"an action names slot {action.slot}; the {len(slots)} enabled slots count from 0"
            )
        if action.op is Op.GERMINATE and action.blueprint not in task.blueprints:
            allowed = ", ".join(task.blueprints)
            reason = (
                f"task '{task.name}' has no blueprint '{action.blueprint}'; blueprints: {allowed}"
            )
            return CommandResult(accepted=False, reason=reason)
        command = to_command(action, slots)
        return (
            CommandResult(accepted=True) if command is None else self._host.apply_command(command)
        )

    def _check(self, train_loss: float, validation: Validation) -> Instability | None:
        return self._governor.observe(
            EpochStats(
                train_loss=train_loss,
                val_loss=validation.loss,
                parameters_finite=self._trainer.parameters_finite(),
            )
        )

    def _end_epoch(self, epoch: int) -> tuple[SeedEvent, ...]:
        self._host.tick()
        self._trainer.sync()
        events = self._host.take_events()
        due = epoch % self._setup.config.governor.snapshot_every == 0
        if due and not self._governor.suspicious:
            self._snapshot = Snapshot(epoch, self._host.snapshot())
        return events

    def _roll_back(self) -> tuple[SeedEvent, ...]:
        """Prunes live seeds, restores the snapshot, and prunes the live seeds of the snapshot.

        Pruning before the restore counts the seeds at their true age. Seeds that the snapshot
        brings back were counted when they were pruned, except fossils that the rollback undoes.
        """
        fossils = {
            report.slot
            for report in self._host.seed_reports()
            if report.stage is SeedStage.FOSSILIZED
        }
        self._host.prune_live()
        events = self._host.take_events()
        self._host.restore(self._snapshot.host)
        self._host.prune_live()
        self._trainer.sync()
        undone = tuple(event for event in self._host.take_events() if event.slot in fossils)
        return events + undone

    def _describe(
        self,
        epoch: int,
        validation: Validation,
        events: tuple[SeedEvent, ...],
        instability: Instability | None,
    ) -> StepReport:
        counts = self._host.parameter_counts()
        self._wasted += sum(
            event.parameters * event.age for event in events if event.kind is SeedEventKind.PRUNED
        )
        return replace(
            self.report,
            epoch=epoch,
            seeds=self._host.seed_reports(),
            fossil_parameters=counts.fossil,
            live_parameters=counts.live,
            wasted_epoch_parameters=self._wasted,
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            history=tuple(self._history),
            action=self._action,
            action_succeeded=self._result.accepted,
            rejection=self._result.reason,
            events=events,
            counterfactuals=validation.counterfactuals,
            shapley=None if instability is not None else validation.shapley,
            rollback=None if instability is None else self._rollback_of(instability),
            ended=self._end(epoch, instability),
        )

    def _rollback_of(self, instability: Instability) -> Rollback:
        return Rollback(
            cause=instability.cause,
            loss=instability.loss,
            threshold=instability.threshold,
            restored_epoch=self._snapshot.epoch,
        )

    def _end(self, epoch: int, instability: Instability | None) -> EpisodeEnd | None:
        if instability is not None:
            return EpisodeEnd.GOVERNOR
        return EpisodeEnd.HORIZON if epoch >= self._setup.config.max_epochs else None
