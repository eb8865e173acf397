"""One arm on its seeds: episodes played, and what each came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter

from esper_leyline import (
    Controller,
    Environment,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    SeedEventKind,
    StepReport,
)
from esper_simic import ControllerDecider
from esper_train.evaluation.arms import Build
from esper_train.evaluation.flops import FlopCounter
from esper_train.evaluation.results import EpisodeResult, GrownSeed


def play_arm(
    environment: Environment,
    build: Build,
    seeds: Sequence[int],
    flops: FlopCounter,
    *,
    lifetimes: Mapping[int, int],
    should_stop: Callable[[], bool],
    tell: Callable[[int], None],
    counterfactuals: bool = True,
) -> tuple[EpisodeResult, ...] | None:
    """Plays one episode a seed, as many side by side as the environment has room for.

    Args:
        environment: The hosts; those of the same seed are the same for every arm.
        build: Builds a controller for a host.
        seeds: Of the hosts.
        flops: Counts what they compute.
        lifetimes: Epochs after which a host is judged, by seed; not more than an episode of
            the environment has.
        should_stop: Asked before every epoch.
        counterfactuals: Whether the FLOPs of validation count those of counterfactuals, which
            a network from scratch has no use for.
        tell: Told how many episodes are over, whenever some are.

    Returns:
        The episodes in the order of the seeds; ``None`` once ``should_stop`` says so.
    """
    room = environment.spec.environments
    # Those that live alike are put together: a host whose life is over trains on beside others.
    order = sorted(seeds, key=lifetimes.__getitem__)
    results: dict[int, EpisodeResult] = {}
    for start in range(0, len(order), room):
        beside = order[start : start + room]
        lives = [
            Life(build(environment.spec), flops, lifetimes[seed], counterfactuals)
            for seed in beside
        ]
        if not _play(environment, lives, beside, should_stop):
            return None
        results |= {life.result.seed: life.result for life in lives}
        tell(len(results))
    return tuple(results[seed] for seed in seeds)


def _play(
    environment: Environment,
    lives: Sequence[Life],
    seeds: Sequence[int],
    should_stop: Callable[[], bool],
) -> bool:
    reports = environment.reset(seeds)
    decider = ControllerDecider([life.controller for life in lives])
    decider.reset(seeds)
    for life, report, newborn in zip(lives, reports, environment.evaluate(), strict=True):
        life.begin(report, newborn)
    while not all(life.closed for life in lives):
        if should_stop():
            return False
        choices = decider.choose(reports)
        reports = environment.step([choice.action for choice in choices])
        for life, report in zip(lives, reports, strict=True):
            life.go_on(report)
        _judge(environment, lives)
    return True


def _judge(environment: Environment, lives: Sequence[Life]) -> None:
    """Closes the lives that are over by now."""
    if any(life.over and not life.closed for life in lives):
        for life, test in zip(lives, environment.evaluate(), strict=True):
            if life.over and not life.closed:
                life.close(test)


class Life:
    """One episode of one host as it goes on: what it cost so far, and what became of it."""

    def __init__(
        self, controller: Controller, flops: FlopCounter, epochs: int, counterfactuals: bool
    ) -> None:
        self.controller = Timed(controller)
        self._flops = flops
        self._epochs = epochs
        self._result: EpisodeResult | None = None
        self._train_flops = self._validation_flops = 0
        self._counterfactuals = counterfactuals
        self._seconds = 0.0
        self._happened = dict.fromkeys(SeedEventKind, 0)

    @property
    def over(self) -> bool:
        """Whether the host has trained for as long as it was given, or broke before."""
        return self._report.ended is not None or self._report.epoch >= self._epochs

    @property
    def closed(self) -> bool:
        """Whether it is over and judged."""
        return self._result is not None

    @property
    def result(self) -> EpisodeResult:
        """What became of it, once it is closed."""
        assert self._result is not None
        return self._result

    def begin(self, report: StepReport, newborn: EvaluationReport) -> None:
        """Takes in the host as it was born."""
        self._report = report
        self._newborn = newborn

    def go_on(self, report: StepReport) -> None:
        """Takes in the next epoch, unless the life is over."""
        if self.over:
            return
        self._train_flops += self._flops.epoch(self._report, report)
        self._validation_flops += (
            self._flops.validation(self._report, report)
            if self._counterfactuals
            else self._flops.validation_rows * self._flops.forward(report)
        )
        self._seconds += sum(report.seconds.values())
        for event in report.events:
            self._happened[event.kind] += 1
        self._report = report

    def close(self, test: EvaluationReport) -> None:
        """Closes the books with what the test split says."""
        last = self._report
        self._result = EpisodeResult(
            seed=last.seed,
            epochs=last.epoch,
            ended=last.ended or EpisodeEnd.HORIZON,
            newborn_accuracy=self._newborn.test_accuracy,
            test_accuracy=test.test_accuracy,
            test_loss=test.test_loss,
            val_accuracy=last.val_accuracy,
            host_parameters=last.host_parameters,
            parameters=test.parameters,
            pruned_epoch_parameters=last.wasted_epoch_parameters,
            forward_flops=self._flops.forward(last),
            train_flops=self._train_flops,
            validation_flops=self._validation_flops,
            total_flops=self._train_flops + self._validation_flops,
            seconds=self._seconds + self.controller.seconds,
            decision_seconds=self.controller.seconds,
            germinated=self._happened[SeedEventKind.GERMINATED],
            fossilized=self._happened[SeedEventKind.FOSSILIZED],
            pruned=self._happened[SeedEventKind.PRUNED],
            seeds=tuple(_held(last)),
        )


def _held(report: StepReport) -> Iterator[GrownSeed]:
    for seed in report.seeds:
        if seed.blueprint is not None and seed.style is not None:
            yield GrownSeed(
                slot=seed.slot, blueprint=seed.blueprint, style=seed.style, stage=seed.stage
            )


class Timed:
    """A controller on a stopwatch."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.seconds = 0.0

    def reset(self, seed: int) -> None:
        """Forgets the last episode, and how long it took."""
        self._controller.reset(seed)
        self.seconds = 0.0

    def decide(self, report: StepReport) -> FactoredAction:
        """Chooses the next action, and counts the time."""
        started = perf_counter()
        action = self._controller.decide(report)
        self.seconds += perf_counter() - started
        return action
