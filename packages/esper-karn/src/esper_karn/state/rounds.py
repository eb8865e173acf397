"""The rounds of a run in fixed space: the first ones, the last ones, and merged ones between."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from esper_leyline import RoundSummary
from esper_leyline.wire import Float, round_digits

EDGE = 10
"""Rounds kept one by one at the start and at the end of a run."""

MERGED = 16
"""Merged entries kept between them; when there are more, they merge in pairs."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the finite values seen so far.

    Attributes:
        count: Finite values.
        total: Their sum.
        not_finite: A value that was NaN or infinite, ``None`` without one.
    """

    count: int = 0
    total: Float = 0.0
    not_finite: Float | None = None

    @classmethod
    def of(cls, value: float | None) -> Mean:
        """Returns the mean of one value; ``None`` is no value."""
        if value is None:
            return cls()
        return cls(1, value) if math.isfinite(value) else cls(not_finite=value)

    def __add__(self, other: Mean) -> Mean:
        """Returns the mean of the values of both."""
        return Mean(
            self.count + other.count,
            self.total + other.total,
            other.not_finite if self.not_finite is None else self.not_finite,
        )

    @property
    def value(self) -> float | None:
        """The mean; without a finite value NaN or an infinity, ``None`` without any value."""
        return self.total / self.count if self.count else self.not_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStats:
    """One round, or several consecutive rounds merged.

    Attributes:
        first: Number of the first round, from 1.
        last: Number of the last round.
        rounds: Number of rounds.
        returns: Of the rounds' mean returns.
        accuracies: Of the rounds' mean final validation accuracies, in percent.
        best_accuracy: Best final validation accuracy, in percent; ``None`` if not measured.
        ops: How often each op was chosen, by name.
        germinated: Seeds germinated; likewise ``fossilized`` and ``pruned``.
        grown: Of the rounds' mean parameters of fossilized seeds per host.
        rollbacks: Episodes ended by the governor.
        rollback_causes: The same by cause.
        seconds: Wall time.
    """

    first: int
    last: int
    rounds: int
    returns: Mean
    accuracies: Mean
    best_accuracy: Float | None
    ops: Mapping[str, int]
    germinated: int
    fossilized: int
    pruned: int
    grown: Mean
    rollbacks: int
    rollback_causes: Mapping[str, int]
    seconds: Float

    @classmethod
    def of(cls, summary: RoundSummary) -> RoundStats:
        """Returns one round, with numbers as a log holds them.

        Those of a summary have all digits, and would be shown otherwise: 55.349999999999994 as
        55.3, and the 55.35 of the log as 55.4.
        """
        return cls(
            first=summary.round,
            last=summary.round,
            rounds=1,
            returns=Mean.of(_as_logged(summary.mean_return)),
            accuracies=Mean.of(_as_logged(summary.mean_accuracy)),
            best_accuracy=_as_logged(summary.best_accuracy),
            ops=summary.ops,
            germinated=summary.germinated,
            fossilized=summary.fossilized,
            pruned=summary.pruned,
            grown=Mean.of(_as_logged(summary.grown_parameters)),
            rollbacks=summary.rollbacks,
            rollback_causes=summary.rollback_causes,
            seconds=summary.seconds,
        )

    def merge(self, later: RoundStats) -> RoundStats:
        """Returns these rounds and later ones as one entry."""
        return RoundStats(
            first=self.first,
            last=later.last,
            rounds=self.rounds + later.rounds,
            returns=self.returns + later.returns,
            accuracies=self.accuracies + later.accuracies,
            best_accuracy=_best(self.best_accuracy, later.best_accuracy),
            ops=_add_counts(self.ops, later.ops),
            germinated=self.germinated + later.germinated,
            fossilized=self.fossilized + later.fossilized,
            pruned=self.pruned + later.pruned,
            grown=self.grown + later.grown,
            rollbacks=self.rollbacks + later.rollbacks,
            rollback_causes=_add_counts(self.rollback_causes, later.rollback_causes),
            seconds=self.seconds + later.seconds,
        )

    @property
    def mean_return(self) -> float | None:
        """Mean return per episode, ``None`` if not known."""
        return self.returns.value

    @property
    def mean_accuracy(self) -> float | None:
        """Mean final validation accuracy, in percent; ``None`` if not measured."""
        return self.accuracies.value

    @property
    def grown_parameters(self) -> float | None:
        """Mean parameters of fossilized seeds per host at the episodes' end."""
        return self.grown.value

    def per_round(self, total: float) -> float:
        """Returns one of the totals divided by the number of rounds."""
        return total / self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHistory:
    """All rounds of a run, those in the middle merged.

    Attributes:
        head: The first rounds, at most ``EDGE``.
        middle: Merged rounds, at most ``MERGED`` entries, all but the last of ``stride`` rounds.
        tail: The last rounds, at most ``EDGE``.
        stride: Rounds per entry of the middle.
    """

    head: tuple[RoundStats, ...] = ()
    middle: tuple[RoundStats, ...] = ()
    tail: tuple[RoundStats, ...] = ()
    stride: int = 1

    @classmethod
    def of(cls, summaries: Iterable[RoundSummary]) -> RoundHistory:
        """Returns the history of a run's summary."""
        return reduce(cls.add, map(RoundStats.of, summaries), cls())

    @property
    def last(self) -> RoundStats | None:
        """The latest round, ``None`` if it was merged with others or there is none."""
        edge = self.tail if self.middle else self.tail or self.head
        return edge[-1] if edge else None

    @property
    def total(self) -> RoundStats | None:
        """All rounds merged, ``None`` without any."""
        return merge_all((*self.head, *self.middle, *self.tail))

    def add(self, stats: RoundStats) -> RoundHistory:
        """Returns the history with one more round; one that it has already changes nothing."""
        if stats.last <= self._latest:
            return self
        if len(self.head) < EDGE and not self.tail:
            return RoundHistory(head=(*self.head, stats))
        tail, middle, stride = (*self.tail, stats), self.middle, self.stride
        if len(tail) > EDGE:
            middle, stride = _push(middle, stride, tail[0])
            tail = tail[1:]
        return RoundHistory(head=self.head, middle=middle, tail=tail, stride=stride)

    def rewind(self, completed: int) -> RoundHistory:
        """Returns the history without the rounds after number ``completed``.

        A run that resumes from an older checkpoint repeats those rounds. An entry of the
        middle that spans that point is kept whole, and its rounds are not added again.
        """
        return RoundHistory(
            head=tuple(each for each in self.head if each.last <= completed),
            middle=tuple(each for each in self.middle if each.first <= completed),
            tail=tuple(each for each in self.tail if each.last <= completed),
            stride=self.stride,
        )

    @property
    def _latest(self) -> int:
        """Number of the latest round, 0 without one."""
        rounds = self.tail or self.middle or self.head
        return rounds[-1].last if rounds else 0

    def condense(self, middle_rows: int) -> tuple[RoundStats, ...]:
        """Returns the rounds as a table shows them.

        Args:
            middle_rows: Largest number of entries between the first and the last rounds.
        """
        size = max(1, math.ceil(len(self.middle) / middle_rows))
        starts = range(0, len(self.middle), size)
        groups = [merge_all(self.middle[start : start + size]) for start in starts]
        return (*self.head, *(each for each in groups if each is not None), *self.tail)


def merge_all(rounds: Iterable[RoundStats]) -> RoundStats | None:
    """Returns consecutive rounds as one entry, ``None`` without any."""
    rounds = list(rounds)
    return reduce(RoundStats.merge, rounds) if rounds else None


def _push(
    middle: tuple[RoundStats, ...], stride: int, stats: RoundStats
) -> tuple[tuple[RoundStats, ...], int]:
    """Adds a round to the middle; returns it and its stride."""
    if middle and middle[-1].rounds < stride:
        return (*middle[:-1], middle[-1].merge(stats)), stride
    if len(middle) == MERGED:
        pairs = zip(middle[::2], middle[1::2], strict=True)
        middle, stride = tuple(left.merge(right) for left, right in pairs), stride * 2
    return (*middle, stats), stride


def _add_counts(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    names = {**left, **right}
    return {name: left.get(name, 0) + right.get(name, 0) for name in names}


def _as_logged(value: float | None) -> float | None:
    return value if value is None or not math.isfinite(value) else round_digits(value)


def _best(left: float | None, right: float | None) -> float | None:
    """Returns the larger value; NaN and infinities only count where there is no other value."""
    values = [value for value in (left, right) if value is not None]
    return max(filter(math.isfinite, values), default=values[0] if values else None)
