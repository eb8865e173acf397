"""The rounds of a run in fixed space: the first, the last, and blocks between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from esper_leyline import RoundSummary

EDGE = 10
"""Rounds kept whole at the start and at the end of a run."""

BLOCKS = 16
"""Most blocks kept between them; full, they merge in pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundBlock:
    """Consecutive rounds together.

    Attributes:
        first: Number of the first round.
        last: Number of the last one.
        rounds: How many there are.
        returns: Finite mean returns among them, and ``return_total`` their sum.
        accuracies: Finite mean accuracies among them, and ``accuracy_total`` their sum.
        best_accuracy: Best of the rounds' best accuracies, in percent.
        ops: How often each op was chosen, by name.
        grown_total: Sum over rounds of the mean parameters of fossilized seeds.
    """

    first: int
    last: int
    rounds: int
    returns: int
    return_total: float
    accuracies: int
    accuracy_total: float
    best_accuracy: float | None
    ops: dict[str, int]
    germinated: int
    fossilized: int
    pruned: int
    grown_total: float
    rollbacks: int
    seconds: float

    @classmethod
    def of(cls, summary: RoundSummary) -> RoundBlock:
        """Returns a block of one round."""
        accuracy = _finite(summary.mean_accuracy)
        reward = _finite(summary.mean_return)
        return cls(
            first=summary.round,
            last=summary.round,
            rounds=1,
            returns=int(reward is not None),
            return_total=reward or 0.0,
            accuracies=int(accuracy is not None),
            accuracy_total=accuracy or 0.0,
            best_accuracy=_finite(summary.best_accuracy),
            ops=summary.ops,
            germinated=summary.germinated,
            fossilized=summary.fossilized,
            pruned=summary.pruned,
            grown_total=summary.grown_parameters,
            rollbacks=summary.rollbacks,
            seconds=summary.seconds,
        )

    @property
    def mean_return(self) -> float | None:
        """Mean of the finite mean returns."""
        return self.return_total / self.returns if self.returns else None

    @property
    def mean_accuracy(self) -> float | None:
        """Mean of the finite mean accuracies, in percent."""
        return self.accuracy_total / self.accuracies if self.accuracies else None

    @property
    def grown_parameters(self) -> float:
        """Mean over rounds of the mean parameters of fossilized seeds."""
        return self.grown_total / self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHistory:
    """All rounds of a run, the middle ones condensed.

    Attributes:
        head: The first rounds, at most ``EDGE``.
        middle: Blocks of rounds, at most ``BLOCKS``, all but the last of ``stride`` rounds.
        tail: The last rounds, at most ``EDGE``.
        stride: Rounds a block of the middle holds.
    """

    head: tuple[RoundSummary, ...] = ()
    middle: tuple[RoundBlock, ...] = ()
    tail: tuple[RoundSummary, ...] = ()
    stride: int = 1

    @classmethod
    def of(cls, rounds: Iterable[RoundSummary]) -> RoundHistory:
        """Returns the history of the given rounds."""
        return reduce(cls.add, rounds, cls())

    @property
    def last(self) -> RoundSummary | None:
        """The latest round, ``None`` where it is not kept whole."""
        edge = self.tail if self.middle else self.tail or self.head
        return edge[-1] if edge else None

    def add(self, summary: RoundSummary) -> RoundHistory:
        """Returns the history with one more round."""
        if len(self.head) < EDGE and not self.tail:
            return RoundHistory(head=(*self.head, summary))
        tail, middle, stride = (*self.tail, summary), self.middle, self.stride
        if len(tail) > EDGE:
            middle, stride = _push(middle, stride, RoundBlock.of(tail[0]))
            tail = tail[1:]
        return RoundHistory(head=self.head, middle=middle, tail=tail, stride=stride)

    def rewind(self, completed: int) -> RoundHistory:
        """Returns the history without the rounds after ``completed``.

        A run that resumes from an older checkpoint does those again. A block of the
        middle that lies across that point stays as it is.
        """
        return RoundHistory(
            head=tuple(each for each in self.head if each.round <= completed),
            middle=tuple(block for block in self.middle if block.first <= completed),
            tail=tuple(each for each in self.tail if each.round <= completed),
            stride=self.stride,
        )

    def total(self) -> RoundBlock | None:
        """Returns all rounds as one block, ``None`` without any."""
        edges = [[RoundBlock.of(each) for each in edge] for edge in (self.head, self.tail)]
        blocks = [*edges[0], *self.middle, *edges[1]]
        return reduce(merge, blocks) if blocks else None


def merge(left: RoundBlock, right: RoundBlock) -> RoundBlock:
    """Returns two blocks, one after the other, as one."""
    best = [each for each in (left.best_accuracy, right.best_accuracy) if each is not None]
    names = {**left.ops, **right.ops}
    return RoundBlock(
        first=left.first,
        last=right.last,
        rounds=left.rounds + right.rounds,
        returns=left.returns + right.returns,
        return_total=left.return_total + right.return_total,
        accuracies=left.accuracies + right.accuracies,
        accuracy_total=left.accuracy_total + right.accuracy_total,
        best_accuracy=max(best, default=None),
        ops={name: left.ops.get(name, 0) + right.ops.get(name, 0) for name in names},
        germinated=left.germinated + right.germinated,
        fossilized=left.fossilized + right.fossilized,
        pruned=left.pruned + right.pruned,
        grown_total=left.grown_total + right.grown_total,
        rollbacks=left.rollbacks + right.rollbacks,
        seconds=left.seconds + right.seconds,
    )


def _push(
    middle: tuple[RoundBlock, ...], stride: int, block: RoundBlock
) -> tuple[tuple[RoundBlock, ...], int]:
    if middle and middle[-1].rounds < stride:
        return (*middle[:-1], merge(middle[-1], block)), stride
    if len(middle) == BLOCKS:
        pairs = zip(middle[::2], middle[1::2], strict=True)
        middle, stride = tuple(merge(left, right) for left, right in pairs), stride * 2
    return (*middle, block), stride


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
