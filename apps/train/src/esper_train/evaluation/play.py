"""One arm on its seeds: episodes played, and what each came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from esper_leyline import (
    Controller,
    Environment,
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
    should_stop: Callable[[], bool],
    tell: Callable[[int], None],
) -> tuple[EpisodeResult, ...] | None:
    """Plays one episode a seed, as many side by side as the environment has room for.

    Args:
        environment: The hosts; those of the same seed are the same for every arm.
        build: Builds a controller for a host.
        seeds: Of the hosts.
        flops: Counts what they compute.
        should_stop: Asked before every epoch.
        tell: Told how many episodes are over, whenever some are.

    Returns:
        The episodes in the order of the seeds; ``None`` once ``should_stop`` says so.
    """
    room = environment.spec.environments
    results: list[EpisodeResult] = []
    for start in range(0, len(seeds), room):
        beside = seeds[start : start + room]
        lives = [Life(build(environment.spec), flops) for _ in beside]
        if not _play(environment, lives, beside, should_stop):
            return None
        judged = environment.evaluate()
        results += [life.result(test) for life, test in zip(lives, judged, strict=True)]
        tell(len(results))
    return tuple(results)


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
    while any(report.ended is None for report in reports):
        if should_stop():
            return False
        choices = decider.choose(reports)
        reports = environment.step([choice.action for choice in choices])
        for life, report in zip(lives, reports, strict=True):
            life.go_on(report)
    return True


class Life:
    """One episode of one host as it goes on: what it cost so far, and what became of it."""

    def __init__(self, controller: Controller, flops: FlopCounter) -> None:
        self.controller = Timed(controller)
        self._flops = flops
        self._train_flops = 0
        self._seconds = 0.0
        self._happened = dict.fromkeys(SeedEventKind, 0)

    def begin(self, report: StepReport, newborn: EvaluationReport) -> None:
        """Takes in the host as it was born."""
        self._report = report
        self._newborn = newborn

    def go_on(self, report: StepReport) -> None:
        """Takes in the next epoch; the report of an episode that is over comes again."""
        if self._report.ended is not None:
            return
        self._train_flops += self._flops.epoch(self._report, report)
        self._seconds += sum(report.seconds.values())
        for event in report.events:
            self._happened[event.kind] += 1
        self._report = report

    def result(self, test: EvaluationReport) -> EpisodeResult:
        """Closes the books with what the test split says."""
        last = self._report
        assert last.ended is not None
        return EpisodeResult(
            seed=last.seed,
            epochs=last.epoch,
            ended=last.ended,
            newborn_accuracy=self._newborn.test_accuracy,
            test_accuracy=test.test_accuracy,
            test_loss=test.test_loss,
            val_accuracy=last.val_accuracy,
            host_parameters=last.host_parameters,
            parameters=test.parameters,
            pruned_epoch_parameters=last.wasted_epoch_parameters,
            forward_flops=self._flops.forward(last),
            train_flops=self._train_flops,
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
