"""Hosts that are computed together: one forward pass, backward pass and update for all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import HostTraining
from esper_leyline.ports import HostStack
from esper_tolaria.datasets.splits import Split
from esper_tolaria.engine.optimizers import seed_options
from esper_tolaria.engine.row_optimizer import RowOptimizer
from esper_tolaria.engine.trainer import Trainer
from esper_tolaria.validation.validate import ScoreRequest, Scores, score_stack


class StackedTrainer:
    """Trains and validates several hosts on the same batches through a ``HostStack``.

    The gradient of each host and of each seed is clipped separately, and their rows of weights
    and optimizer state are independent of the others, so the results of a host do not depend on
    the rest of the stack. A seed that the stack does not train is trained by its host's own
    optimizer.
    """

    def __init__(
        self,
        trainers: Sequence[Trainer],
        stack: HostStack,
        training: HostTraining,
        optimizers: tuple[RowOptimizer, RowOptimizer] | None = None,
    ) -> None:
        """Takes the hosts' trainers and their stack.

        Args:
            trainers: One for each host, in the order of the stack.
            stack: The hosts.
            training: How they train.
            optimizers: Those of hosts and of seeds, of a trainer that had these hosts before.
        """
        self.trainers = tuple(trainers)
        self._stack = stack
        self._training = training
        own_options = {"lr": training.learning_rate, "max_norm": training.max_grad_norm}
        self._optimizers = optimizers or (
            RowOptimizer(training, own_options),
            RowOptimizer(training, seed_options(training)),
        )
        self._optimizers[0].set_rows(stack.rows)
        self._with_own_seeds: list[Trainer] = []

    def start_epoch(self) -> None:
        """Groups the seeds again, after commands and ticks changed them."""
        self._stack.regroup()
        rows = self._stack.seed_rows
        self._optimizers[1].set_rows(rows)
        stacked = {parameter for row in rows for parameter in row.parameters}
        self._with_own_seeds = [
            trainer for trainer in self.trainers if trainer.trains_others(stacked)
        ]

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains every host on a batch; gradients of the last batch of an epoch are recorded.

        Args:
            inputs: [B, ...].
            targets: [B].
            last: Whether it is the epoch's last.
        """
        for trainer in self._with_own_seeds:
            trainer.zero_grad()
        logits = self._stack.forward(inputs).requires_grad_()
        losses = self._losses(logits, targets)
        losses.sum().backward()
        assert logits.grad is not None
        self._stack.backward(logits.grad)
        if last:
            self._record()
        for optimizer in self._optimizers:
            optimizer.step()
        predictions = logits.detach().argmax(-1)
        for trainer, loss, predicted in zip(
            self.trainers, losses.detach(), predictions, strict=True
        ):
            trainer.record_batch(loss, predicted, targets)
        for trainer in self._with_own_seeds:
            trainer.update()

    def validate(
        self, split: Split, requests: Sequence[ScoreRequest], classes: int
    ) -> list[Scores]:
        """Evaluates the configurations of every host on a split, before the tick."""
        return score_stack(self._stack, split, requests, classes)

    def regroup(self, trainers: Sequence[Trainer]) -> StackedTrainer:
        """Returns a trainer of a subset of the hosts, with their optimizer state."""
        stack = _stack(trainers)
        assert stack is not None, "a subset of a stack can be stacked"
        regrouped = StackedTrainer(trainers, stack, self._training, self._optimizers)
        regrouped.start_epoch()
        return regrouped

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns each host's mean loss [K]."""
        losses = cross_entropy(
            logits.transpose(1, 2),  # the order in which stacks compute them
            targets.expand(len(logits), -1),
            reduction="none",
            label_smoothing=self._training.label_smoothing,
        )
        return losses.mean(1)

    def _record(self) -> None:
        """Lets every host record its gradients."""
        self._stack.share_gradients()
        for trainer in self.trainers:
            trainer.record_gradients()
        self._stack.clear_gradients()


def join(trainers: Sequence[Trainer], training: HostTraining) -> StackedTrainer | None:
    """Stacks fresh hosts; returns ``None`` if that is not faster for hosts of this kind."""
    if any(trainer.mixed for trainer in trainers):
        return None
    stack = _stack(trainers)
    return None if stack is None else StackedTrainer(trainers, stack, training)


def _stack(trainers: Sequence[Trainer]) -> HostStack | None:
    first, *others = (trainer.host for trainer in trainers)
    return first.stack(others)
