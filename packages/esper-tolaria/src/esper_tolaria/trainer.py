"""One host and its optimiser, a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import HOST_GROUP, HostTraining, MorphogeneticHost
from esper_tolaria.optimizers import build_optimizer


class Trainer:
    """Trains one host; nothing is read back from the device before ``read_epoch``."""

    def __init__(self, host: MorphogeneticHost, training: HostTraining) -> None:
        self._host = host
        self._optimizer = build_optimizer(host, training)
        self._seed_options = {"lr": training.seed_learning_rate}
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []

    @property
    def host(self) -> MorphogeneticHost:
        """The host that is trained."""
        return self._host

    def sync(self) -> None:
        """Takes newborn seeds into the optimiser and drops removed ones."""
        self._host.sync_optimizer(self._optimizer, self._seed_options)

    def start_epoch(self) -> None:
        """Makes the host ready to be trained."""
        self._host.train(True)
        self._losses, self._logits = [], []

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains on inputs [B, ...] and targets [B]; the last batch's gradients are recorded."""
        self.drop_gradients()
        logits = self._host(inputs)
        loss = cross_entropy(logits, targets)
        loss.backward()
        if last:
            self._host.record_gradients()
        self.update()
        self.take(loss.detach(), logits.detach(), targets)

    def drop_gradients(self) -> None:
        """Forgets the gradients of the host and its seeds."""
        self._optimizer.drop_gradients()

    def record_gradients(self) -> None:
        """Lets the host look at gradients that were computed for it, and takes its own away.

        Those are somebody else's to use; the seeds' stay.
        """
        self._host.record_gradients()
        for parameter in self._host.parameter_groups()[HOST_GROUP]:
            parameter.grad = None

    def update(self) -> None:
        """Updates whatever has a gradient."""
        self._optimizer.step()

    def take(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Takes down how a batch went: its mean loss [] and logits [B, C]."""
        self._losses.append(loss * len(targets))
        self._logits.append(logits)

    def read_epoch(self, targets: Tensor) -> tuple[float, float]:
        """Returns the epoch's mean loss in nats and its accuracy in percent.

        Args:
            targets: [N], in the order in which the batches came.
        """
        rows = len(targets)
        loss = torch.stack(self._losses).sum().item() / rows
        correct = (torch.cat(self._logits).argmax(-1) == targets).sum().item()
        self._losses, self._logits = [], []
        return loss, 100.0 * correct / rows

    def parameters_finite(self) -> bool:
        """Whether every parameter of the host and its seeds is a finite number."""
        groups = self._host.parameter_groups().values()
        flat = torch.cat([each.detach().reshape(-1) for group in groups for each in group])
        return bool(torch.isfinite(flat).all())
