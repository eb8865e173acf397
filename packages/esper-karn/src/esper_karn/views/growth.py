"""One episode as a picture shows it: seeds with their stages, and accuracy over epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from esper_karn.errors import KarnError
from esper_karn.state.episode import Episode, Lifeline, StageSpan, better_episode
from esper_karn.state.run import RunState
from esper_leyline import OCCUPIED_STAGES, SeedStage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stay of a slot in one stage, from epoch ``start`` up to, and without, epoch ``end``."""

    stage: SeedStage
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedView:
    """One seed from germination until it was pruned or the episode ended.

    Attributes:
        blueprint: Its name in lower case.
        stages: In order, without gaps.
        pruned: The epoch in which it was pruned, ``None`` if it was not.
        contribution: When it was fossilized, in points; ``None`` if not measured.
        alpha: Epoch and alpha, while it could change.
    """

    blueprint: str
    stages: tuple[StageView, ...]
    pruned: int | None
    contribution: float | None
    alpha: tuple[tuple[int, float], ...]

    @property
    def start(self) -> int:
        """The epoch in which it germinated."""
        return self.stages[0].start


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """One slot: its seeds, one after another, and its stages without a seed."""

    slot: str
    seeds: tuple[SeedView, ...]
    vacant: tuple[StageView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthView:
    """One episode of one host.

    Attributes:
        command: The command of the run, ``None`` if the log does not say.
        task: Its task.
        epochs: Epochs done.
        accuracy: Epoch and validation accuracy in percent; NaN is left out.
        host_parameters: Parameters that the host was built with.
        grown_parameters: Parameters of its fossilized seeds.
    """

    command: str | None
    task: str | None
    epochs: int
    slots: tuple[SlotView, ...]
    accuracy: tuple[tuple[int, float], ...]
    host_parameters: int
    grown_parameters: int


def growth_view(state: RunState) -> GrowthView:
    """Selects the finished episode with the highest final accuracy, or else the current one.

    Raises:
        KarnError: If the log holds no epoch of any episode.
    """
    best: Episode | None = None
    for environment in state.environments:
        best = better_episode(best, environment.best_episode or environment.episode)
    if best is None or best.host is None:
        raise KarnError(
            f"the log of run {state.run_id or '(without an event)'} has no epoch of a host; "
            "train with --telemetry-level normal"
        )
    return GrowthView(
        command=state.report.command,
        task=state.report.task,
        epochs=best.epochs,
        slots=tuple(_slot_view(line, best.epochs) for line in best.lifelines),
        accuracy=tuple(
            (bucket.last, bucket.mean)
            for bucket in best.accuracy.buckets
            if bucket.mean is not None
        ),
        host_parameters=best.host.host_parameters,
        grown_parameters=best.host.fossil_parameters,
    )


def _slot_view(line: Lifeline, epochs: int) -> SlotView:
    seeds: list[SeedView] = []
    vacant: list[StageView] = []
    current: list[StageSpan] = []
    for span, end in _with_ends(line.spans, epochs + 1):
        if span.stage in OCCUPIED_STAGES:
            current.append(span)
        else:
            if current:
                seeds.append(_seed_view(current, span.start, line, pruned=True))
                current = []
            if span.stage is not SeedStage.DORMANT and end > span.start:
                vacant.append(StageView(stage=span.stage, start=span.start, end=end))
    if current:
        seeds.append(_seed_view(current, epochs + 1, line, pruned=False))
    return SlotView(slot=line.slot, seeds=tuple(seeds), vacant=tuple(vacant))


def _seed_view(spans: list[StageSpan], end: int, line: Lifeline, *, pruned: bool) -> SeedView:
    start, last = spans[0].start, spans[-1]
    return SeedView(
        blueprint=last.blueprint or "seed",
        stages=tuple(
            StageView(stage=span.stage, start=span.start, end=stop)
            for span, stop in _with_ends(spans, end)
        ),
        pruned=end if pruned else None,
        contribution=last.contribution if last.stage is SeedStage.FOSSILIZED else None,
        alpha=tuple(
            (bucket.last, bucket.mean)
            for bucket in line.alpha.buckets
            if bucket.mean is not None and start <= bucket.last < end
        ),
    )


def _with_ends(spans: Sequence[StageSpan], end: int) -> Iterator[tuple[StageSpan, int]]:
    """Yields each span with the start of the next one; ``end`` for the last."""
    starts = [span.start for span in spans]
    return zip(spans, [*starts[1:], end], strict=False)
