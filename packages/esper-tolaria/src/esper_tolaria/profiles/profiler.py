"""Measures one host by a telemetry profile, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import torch
from torch import Tensor

from esper_leyline import MorphogeneticHost
from esper_leyline.profiles import HostProfile, Profile
from esper_tolaria.profiles.layers import (
    Gradients,
    describe_layers,
    find_layers,
    measure_gradients,
    weight_norms,
)
from esper_tolaria.profiles.sharpness import describe_sharpness, measure_losses
from esper_tolaria.validation.validate import Scores

NO_GRADIENTS = Gradients(norms={}, values={})
"""The gradients of an epoch whose last batch overflowed in mixed precision."""


class HostProfiler:
    """Measures one host in the epochs that its profile names.

    An epoch calls, in this order: ``start_epoch``, ``record_gradients`` after the last backward
    pass, ``measure`` after validation, ``read``. The host is not changed, and random
    numbers come from generators of the profiler only. No call before ``read`` waits for the device.
    """

    def __init__(
        self, host: MorphogeneticHost, profile: Profile, *, rng_seed: int, max_epochs: int
    ) -> None:
        """Takes a fresh host; ``rng_seed`` is the host's own and seeds random directions."""
        self._host = host
        self._profile = profile
        self._rng_seed = rng_seed
        self._max_epochs = max_epochs
        self._epoch = 0
        self._seconds = 0.0
        self._gradients = NO_GRADIENTS
        self._weights: dict[str, Tensor] = {}
        self._losses: list[Tensor] = []

    @property
    def is_due(self) -> bool:
        """Whether the current epoch is measured."""
        return self._is_last or self._epoch % self._profile.every == 0

    @property
    def wants_class_accuracy(self) -> bool:
        """Whether validation has to count by class in the current epoch."""
        return self._profile.class_accuracy and self.is_due

    def start_epoch(self, epoch: int) -> None:
        """Begins an epoch, counted from 1."""
        self._epoch, self._seconds = epoch, 0.0
        self._gradients, self._weights, self._losses = NO_GRADIENTS, {}, []

    def record_gradients(self) -> None:
        """Measures the current gradients; called after the epoch's last backward pass."""
        if self.is_due:
            with self._timed():
                self._gradients = measure_gradients(
                    find_layers(self._host), values=self._profile.gradient_values
                )

    def measure(self, loss: Callable[[], Tensor]) -> None:
        """Measures weight norms, and in the last epoch the sharpness if the profile asks for it.

        Args:
            loss: Computes the summed validation loss with the current weights, a scalar.
        """
        if not self.is_due:
            return
        with self._timed():
            self._weights = weight_norms(find_layers(self._host))
            if self._profile.sharpness and self._is_last:
                self._losses = measure_losses(
                    self._host, loss, rng_seed=self._rng_seed, epoch=self._epoch
                )

    def read(self, scores: Scores) -> HostProfile | None:
        """Returns what was measured, ``None`` in other epochs; waits for the device.

        Args:
            scores: The epoch's validation.
        """
        if not self.is_due:
            return None
        with self._timed():
            layers = tuple(describe_layers(self._weights, self._gradients))
            sharpness = None
            if self._losses:
                base, *losses = torch.stack([scores.loss, *self._losses]).tolist()
                count = scores.predictions
                sharpness = describe_sharpness(base / count, [each / count for each in losses])
            accuracies = scores.class_accuracies()
        return HostProfile(
            profile=self._profile.name,
            layers=layers,
            class_accuracy=accuracies,
            sharpness=sharpness,
            seconds=self._seconds,
        )

    @property
    def _is_last(self) -> bool:
        return self._epoch == self._max_epochs

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = perf_counter()
        yield
        self._seconds += perf_counter() - started
