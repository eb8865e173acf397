"""Hosts that are computed together: one forward pass, backward pass and update for all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import HostTraining
from esper_leyline.ports import HostStack
from esper_tolaria.engine.optimizers import build_row_optimizer
from esper_tolaria.engine.trainer import Trainer


class StackedTrainer:
    """Trains several hosts on the same batches through a ``HostStack``.

    Each host's gradient is clipped separately, and its rows of weights and optimizer state are
    independent of the others, so its results do not depend on the rest of the stack. Seeds are
    trained by their hosts' own optimizers.
    """

    def __init__(
        self, trainers: Sequence[Trainer], stack: HostStack, training: HostTraining
    ) -> None:
        self.trainers = tuple(trainers)
        self._stack = stack
        self._training = training
        self._optimizer = build_row_optimizer(stack.weights, training)

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains every host on a batch; gradients of the last batch of an epoch are recorded.

        Args:
            inputs: [B, ...].
            targets: [B].
            last: Whether it is the epoch's last.
        """
        self._optimizer.zero_grad()
        for trainer in self.trainers:
            trainer.zero_grad()
        logits = self._stack(inputs)
        losses = self._losses(logits, targets)
        losses.sum().backward()
        if last:
            self._record()
        self._optimizer.step()
        for trainer, loss, host_logits in zip(
            self.trainers, losses.detach(), logits.detach(), strict=True
        ):
            trainer.update()
            trainer.record_batch(loss, host_logits, targets)

    def regroup(self, trainers: Sequence[Trainer]) -> StackedTrainer:
        """Returns a trainer of a subset of the hosts, with their optimizer state."""
        regrouped = join(trainers, self._training)
        assert regrouped is not None, "a subset of a stack can be stacked"
        regrouped._optimizer.copy_rows(  # noqa: SLF001 - of the same class
            self._optimizer, [self.trainers.index(each) for each in trainers]
        )
        return regrouped

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns each host's mean loss [K]."""
        hosts = len(logits)
        losses = cross_entropy(
            logits.flatten(0, 1),
            targets.repeat(hosts),
            reduction="none",
            label_smoothing=self._training.label_smoothing,
        )
        return losses.view(hosts, -1).mean(1)

    def _record(self) -> None:
        """Lets every host record its gradients."""
        self._stack.share_gradients()
        for trainer in self.trainers:
            trainer.record_gradients()


def join(trainers: Sequence[Trainer], training: HostTraining) -> StackedTrainer | None:
    """Stacks fresh hosts; returns ``None`` if that is not faster for hosts of this kind."""
    if any(trainer.mixed for trainer in trainers):
        return None
    first, *others = (trainer.host for trainer in trainers)
    stack = first.stack(others)
    return None if stack is None else StackedTrainer(trainers, stack, training)
