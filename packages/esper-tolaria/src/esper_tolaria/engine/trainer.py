"""Trains one host batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Container

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cross_entropy

from esper_leyline import HostTraining, MorphogeneticHost
from esper_leyline.ports import HOST_GROUP
from esper_tolaria.datasets.augmentation import augment, epoch_generator
from esper_tolaria.engine.optimizers import build_optimizer, seed_options
from esper_tolaria.engine.precision import Precision


class Trainer:
    """Trains one host; no call waits for the device before ``epoch_metrics``."""

    def __init__(
        self,
        host: MorphogeneticHost,
        training: HostTraining,
        *,
        rng_seed: int,
        device: torch.device,
        precision: Precision | None = None,
        observe_gradients: Callable[[], None] | None = None,
    ) -> None:
        """Takes a fresh host on a device; ``rng_seed`` seeds the augmentation of its images.

        Without ``precision`` the host computes in float32. ``observe_gradients`` is called when
        the host records its gradients, and may read them.
        """
        self._host = host
        self._training = training
        self._rng_seed = rng_seed
        self._device = device
        self._precision = precision or Precision()
        self._observe_gradients = observe_gradients
        self._optimizer = build_optimizer(host, training)
        self._seed_options = seed_options(training)
        self._generator: torch.Generator | None = None
        self._losses: list[Tensor] = []
        self._predictions: list[Tensor] = []

    @property
    def host(self) -> MorphogeneticHost:
        """The host that is trained."""
        return self._host

    @property
    def mixed(self) -> bool:
        """Whether the host computes in mixed precision."""
        return self._precision.mixed

    def sync(self) -> None:
        """Adds new seeds to the optimizer and removes pruned ones."""
        self._host.sync_optimizer(self._optimizer, self._seed_options)

    def start_epoch(self, epoch: int) -> None:
        """Sets training mode and seeds the epoch's augmentation."""
        self._host.train(True)
        self._losses, self._predictions = [], []
        if not self._training.augmentation.changes_nothing:
            self._generator = epoch_generator(self._rng_seed, epoch, self._device)

    def train_batch(self, inputs: Tensor, targets: Tensor, *, last: bool) -> None:
        """Trains on a batch; gradients of the last batch of an epoch are recorded.

        Args:
            inputs: [B, ...].
            targets: [B], or [B, T] over tokens.
            last: Whether it is the epoch's last.
        """
        if self._generator is not None:
            inputs = augment(inputs, self._training.augmentation, self._generator)
        self.zero_grad()
        with self._precision.autocast():
            logits = self._host(inputs)
            loss = cross_entropy(
                logits.flatten(0, -2),
                targets.flatten(),
                label_smoothing=self._training.label_smoothing,
            )
        self._precision.backward(loss)
        if last and self._precision.unscale(self._optimizer):
            self.record_gradients()
        self.update()
        self.record_batch(loss.detach(), logits.detach().argmax(-1), targets)

    def zero_grad(self) -> None:
        """Resets the gradients of the host and its seeds to ``None``."""
        self._optimizer.zero_grad()

    def trains_others(self, stacked: Container[Parameter]) -> bool:
        """Whether a seed has trained parameters that are not among those of a stack."""
        return any(
            parameter.requires_grad and parameter not in stacked
            for name, group in self._host.parameter_groups().items()
            if name != HOST_GROUP
            for parameter in group
        )

    def record_gradients(self) -> None:
        """Records the gradients that the host and its seeds have now."""
        self._host.record_gradients()
        if self._observe_gradients is not None:
            self._observe_gradients()

    def update(self) -> None:
        """Updates the parameters that have a gradient."""
        self._precision.step(self._optimizer)

    def record_batch(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Records a batch's mean loss [] and its predictions [B] or [B, T].

        Predictions are kept, not logits, which take gigabytes for token models.
        """
        self._losses.append(loss * targets.numel())
        self._predictions.append(predictions)

    def epoch_metrics(self, targets: Tensor) -> tuple[float, float]:
        """Returns the epoch's mean training loss in nats and its accuracy in percent.

        Args:
            targets: [N] or [N, T], in batch order.
        """
        count = targets.numel()
        loss = torch.stack(self._losses).sum().item() / count
        correct = (torch.cat(self._predictions) == targets).sum().item()
        self._losses, self._predictions = [], []
        return loss, 100.0 * correct / count

    def parameters_finite(self) -> bool:
        """Whether every parameter of the host and its seeds is a finite number."""
        groups = self._host.parameter_groups().values()
        flat = torch.cat([each.detach().reshape(-1) for group in groups for each in group])
        return bool(torch.isfinite(flat).all())
