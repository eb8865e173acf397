"""One host and its optimiser, a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import HostTraining, MorphogeneticHost
from esper_tolaria.optimizers import build_optimizer


class Trainer:
    """Trains one host; nothing is read back from the device before ``read_epoch``."""

    def __init__(self, host: MorphogeneticHost, training: HostTraining) -> None:
        self._host = host
        self._optimizer = build_optimizer(host, training)
        self._seed_options = {"lr": training.seed_learning_rate}
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []

    def sync(self) -> None:
        """Takes newborn seeds into the optimiser and drops removed ones."""
        self._host.sync_optimizer(self._optimizer, self._seed_options)

    def start_epoch(self) -> None:
        """Makes the host ready to be trained."""
        self._host.train(True)
        self._losses, self._logits = [], []

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains on inputs [B, ...] and targets [B]; the last batch's gradients are recorded."""
        self._optimizer.drop_gradients()
        logits = self._host(inputs)
        loss = cross_entropy(logits, targets)
        loss.backward()
        if last:
            self._host.record_gradients()
        self._optimizer.step()
        self._losses.append(loss.detach() * len(targets))
        self._logits.append(logits.detach())

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
