"""Plays one episode for each seed, and records its outcome and its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from esper_leyline import (
    Controller,
    Environment,
    EnvironmentSpec,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    SeedEventKind,
    StepReport,
)
from esper_simic.errors import SimicError
from esper_simic.evaluation.flops import FlopCounter
from esper_simic.evaluation.results import EpisodeResult, GrownSeed

ControllerFactory = Callable[[EnvironmentSpec], Controller]
"""Builds a controller for one host."""


def _never() -> bool:
    return False


def _ignore(_done: int) -> None:
    pass


def play_arm(
    environment: Environment,
    build: ControllerFactory,
    rng_seeds: Sequence[int],
    *,
    flops: FlopCounter | None = None,
    epochs: Mapping[int, int] | None = None,
    counterfactuals: bool = True,
    should_stop: Callable[[], bool] = _never,
    on_progress: Callable[[int], None] = _ignore,
) -> tuple[EpisodeResult, ...] | None:
    """Plays one episode for each seed, as many side by side as the environment has room for.

    Args:
        environment: Trains the hosts; equal random seeds must give equal hosts.
        build: Builds a controller for one host.
        rng_seeds: Random seeds of the hosts.
        flops: Counts FLOPs; without it they are reported as ``None``.
        epochs: By random seed, the epochs after which a host is evaluated; at most those of an
            episode of the environment, which is the default.
        counterfactuals: Whether the FLOPs of validation include counterfactuals; networks
            trained from scratch need none.
        should_stop: Called before every epoch.
        on_progress: Called with the number of finished episodes whenever some finish.

    Returns:
        The episodes in the order of ``rng_seeds``; ``None`` if ``should_stop`` returned true.

    Raises:
        SimicError: If the environment evaluates none of its hosts.
    """
    room, horizon = environment.spec.environments, environment.spec.max_epochs
    length = dict.fromkeys(rng_seeds, horizon) if epochs is None else epochs
    costs = _Costs(flops, counterfactuals)
    # Hosts with equally many epochs are played together: a finished host trains on with its batch.
    order = sorted(rng_seeds, key=length.__getitem__)
    results: dict[int, EpisodeResult] = {}
    for start in range(0, len(order), room):
        batch = order[start : start + room]
        runs = [EpisodeRun(build(environment.spec), costs, length[rng_seed]) for rng_seed in batch]
        if not _play(environment, runs, batch, should_stop):
            return None
        results |= {run.result.rng_seed: run.result for run in runs}
        on_progress(len(results))
    return tuple(results[rng_seed] for rng_seed in rng_seeds)


def _play(
    environment: Environment,
    runs: Sequence[EpisodeRun],
    rng_seeds: Sequence[int],
    should_stop: Callable[[], bool],
) -> bool:
    """Plays episodes side by side; returns false if it was stopped."""
    reports = environment.reset(rng_seeds)
    first = _evaluate(environment, len(runs))
    for run, rng_seed, report, test in zip(runs, rng_seeds, reports, first, strict=True):
        run.begin(rng_seed, report, test)
    while not all(run.closed for run in runs):
        if should_stop():
            return False
        actions = [
            FactoredAction() if report.ended is not None else run.controller.decide(report)
            for run, report in zip(runs, reports, strict=True)
        ]
        reports = environment.step(actions)
        for run, report in zip(runs, reports, strict=True):
            run.update(report)
        _close_finished(environment, runs)
    return True


def _close_finished(environment: Environment, runs: Sequence[EpisodeRun]) -> None:
    if any(run.over and not run.closed for run in runs):
        for run, test in zip(runs, _evaluate(environment, len(runs)), strict=True):
            if run.over and not run.closed:
                run.close(test)


def _evaluate(environment: Environment, hosts: int) -> tuple[EvaluationReport, ...]:
    tests = environment.evaluate()
    if len(tests) != hosts:
        raise SimicError(
            f"the environment evaluated {len(tests)} of {hosts} hosts on the test split; its "
            "evaluate() has to return one report for each host"
        )
    return tests


@dataclass(frozen=True, slots=True)
class _Costs:
    """Counts the FLOPs of epochs; 0 without a counter."""

    counter: FlopCounter | None
    counterfactuals: bool

    def training(self, previous: StepReport, report: StepReport) -> int:
        return 0 if self.counter is None else self.counter.epoch(previous, report)

    def validation(self, previous: StepReport, report: StepReport) -> int:
        if self.counter is None:
            return 0
        if self.counterfactuals:
            return self.counter.validation(previous, report)
        return self.counter.validation_rows * self.counter.forward(report)


class EpisodeRun:
    """One episode of one host while it runs: its costs so far, and its result at the end.

    Args:
        controller: Chooses the actions of the host.
        costs: Counts FLOPs.
        epochs: Epochs after which the host is evaluated.
    """

    def __init__(self, controller: Controller, costs: _Costs, epochs: int) -> None:
        self.controller = TimedController(controller)
        self._costs = costs
        self._epochs = epochs
        self._result: EpisodeResult | None = None
        self._train_flops = self._validation_flops = 0
        self._seconds = 0.0
        self._events = dict.fromkeys(SeedEventKind, 0)

    @property
    def over(self) -> bool:
        """Whether the host has trained for its epochs, or the governor ended it."""
        return self._report.ended is not None or self._report.epoch >= self._epochs

    @property
    def closed(self) -> bool:
        """Whether the host is evaluated."""
        return self._result is not None

    @property
    def result(self) -> EpisodeResult:
        """The result; only once the episode is closed."""
        assert self._result is not None
        return self._result

    def begin(self, rng_seed: int, report: StepReport, newborn: EvaluationReport) -> None:
        """Starts the episode with the report and the evaluation of a fresh host."""
        self.controller.reset(rng_seed)
        self._report = report
        self._newborn = newborn

    def update(self, report: StepReport) -> None:
        """Adds an epoch, unless the episode is over."""
        if self.over:
            return
        self._train_flops += self._costs.training(self._report, report)
        self._validation_flops += self._costs.validation(self._report, report)
        self._seconds += sum(report.seconds.values())
        for event in report.events:
            self._events[event.kind] += 1
        self._report = report

    def close(self, test: EvaluationReport) -> None:
        """Ends the episode with the evaluation on the test split."""
        last, counter = self._report, self._costs.counter
        train, validation = self._train_flops, self._validation_flops
        counted = counter is not None
        self._result = EpisodeResult(
            rng_seed=last.rng_seed,
            epochs=last.epoch,
            ended=last.ended or EpisodeEnd.HORIZON,
            newborn_accuracy=self._newborn.test_accuracy,
            test_accuracy=test.test_accuracy,
            test_loss=test.test_loss,
            val_accuracy=last.val_accuracy,
            host_parameters=last.host_parameters,
            parameters=test.parameters,
            pruned_epoch_parameters=last.wasted_epoch_parameters,
            forward_flops=None if counter is None else counter.forward(last),
            train_flops=train if counted else None,
            validation_flops=validation if counted else None,
            total_flops=train + validation if counted else None,
            seconds=self._seconds + self.controller.seconds,
            decision_seconds=self.controller.seconds,
            germinated=self._events[SeedEventKind.GERMINATED],
            fossilized=self._events[SeedEventKind.FOSSILIZED],
            pruned=self._events[SeedEventKind.PRUNED],
            seeds=tuple(_seeds_of(last)),
        )


def _seeds_of(report: StepReport) -> Iterator[GrownSeed]:
    for seed in report.seeds:
        if seed.blueprint is not None and seed.style is not None:
            yield GrownSeed(
                slot=seed.slot, blueprint=seed.blueprint, style=seed.style, stage=seed.stage
            )


class TimedController:
    """A controller that measures how long its decisions take."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.seconds = 0.0

    def reset(self, rng_seed: int) -> None:
        """Starts an episode."""
        self._controller.reset(rng_seed)
        self.seconds = 0.0

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action, and adds the time it took."""
        started = perf_counter()
        action = self._controller.decide(report)
        self.seconds += perf_counter() - started
        return action
