"""What the passes of an update read, and its division into minibatches and pieces."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esper_leyline import Observation, PolicyEvaluation
from esper_simic.errors import SimicError
from esper_simic.ppo.batch import Batch
from esper_simic.ppo.objective import Counts, Piece, count_steps
from esper_simic.rollout.storage import pick_environments


@dataclass(slots=True, kw_only=True)
class Lesson:
    """A batch with its targets and the policy that it is measured against.

    Attributes:
        batch: [T, N, ...].
        targets: What Q of the ops taken should be, in critic units, [T, N].
        old_log_probs: Of the policy before the first step, [T, N, heads].
        old_distributions: Its log-probabilities of every choice, [T, N, heads, choices].
        evaluation: That policy's view of the whole batch with its gradient still to be
            taken; ``None`` where there is none, or once it was used.
        untouched: Whether no step was made yet.
    """

    batch: Batch
    targets: Tensor
    old_log_probs: Tensor
    old_distributions: Tensor
    evaluation: PolicyEvaluation | None = None
    untouched: bool = True

    @property
    def steps(self) -> int:
        """T."""
        return self.batch.valid.shape[0]

    @property
    def environments(self) -> int:
        """N."""
        return self.batch.valid.shape[1]

    @property
    def counts(self) -> Counts:
        """What its means are taken over."""
        return count_steps(self.batch.valid, self.batch.decided, self.batch.choosable)

    def of(self, chosen: Tensor) -> Lesson:
        """Returns the share of some environments, by index [M]; tensors are copied."""
        return Lesson(
            batch=_pick_batch(self.batch, chosen),
            targets=self.targets.index_select(1, chosen),
            old_log_probs=self.old_log_probs.index_select(1, chosen),
            old_distributions=self.old_distributions.index_select(1, chosen),
            untouched=self.untouched,
        )

    def piece(self, begin: int, end: int) -> Piece:
        """Returns the steps ``begin`` to ``end`` as the objective reads them."""
        batch = self.batch
        return Piece(
            ops=batch.actions[begin:end, :, :1],
            old_log_probs=self.old_log_probs[begin:end],
            old_distributions=self.old_distributions[begin:end],
            advantages=batch.advantages[begin:end],
            targets=self.targets[begin:end],
            valid=batch.valid[begin:end],
            decided=batch.decided[begin:end],
            choosable=batch.choosable[begin:end],
        )


def share_out(environments: int, shares: int, *, draw: tuple[int, ...]) -> list[Tensor]:
    """Deals environments out at random, as evenly as they go.

    Args:
        environments: How many.
        shares: Into how many minibatches.
        draw: Decides the order; nothing else does.

    Returns:
        Indices [M] of each share.

    Raises:
        SimicError: If a share would be empty.
    """
    check_shares(environments, shares)
    order = np.random.default_rng(draw).permutation(environments)
    return [torch.from_numpy(part) for part in np.array_split(order, shares)]


def check_shares(environments: int, shares: int) -> None:
    """Checks that every minibatch gets an environment.

    Raises:
        SimicError: If one would not.
    """
    if shares > environments:
        raise SimicError(
            f"ppo.minibatches is {shares} and there are {environments} environments; "
            "each takes whole ones, so give at most as many"
        )


def _pick_batch(batch: Batch, chosen: Tensor) -> Batch:
    picked: dict[str, Any] = {
        field.name: _pick(getattr(batch, field.name), chosen.to(batch.valid.device))
        for field in fields(Batch)
    }
    return replace(batch, **picked)


def _pick(values: Tensor | Observation, chosen: Tensor) -> Tensor | Observation:
    if isinstance(values, Observation):
        return pick_environments(values, chosen)
    return values.index_select(1, chosen)
