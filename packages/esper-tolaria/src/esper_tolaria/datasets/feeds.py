"""Feeds that provide the training batches. All give the same rows in the same order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from esper_leyline import HostTraining
from esper_leyline.config.host import FeedConfig
from esper_tolaria.datasets.order import epoch_order
from esper_tolaria.datasets.splits import Split
from esper_tolaria.errors import TolariaError

Batch = tuple[Tensor, Tensor]
"""Inputs [B, ...] and targets [B] or [B, T], on the hosts' device."""


class Feed(Protocol):
    """Provides the training batches."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yields an epoch's batches in an order seeded by its number."""
        ...

    def count(self) -> int:
        """Returns how many batches an epoch has."""
        ...


class GatherFeed:
    """Gathers rows by index on the hosts' device, without a DataLoader."""

    def __init__(self, split: Split, training: HostTraining, rng_seed: int) -> None:
        """Takes rows on the hosts' device."""
        self._split = split
        self._order = EpochBatches(len(split), training, rng_seed)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yields an epoch's batches."""
        device = self._split.inputs.device
        for rows in self._order.indices(epoch):
            here = rows.to(device)
            yield self._split.inputs[here], self._split.targets[here]

    def count(self) -> int:
        """Returns how many batches an epoch has."""
        return self._order.count


class LoaderFeed:
    """A ``torch.utils.data.DataLoader`` over the rows, with worker processes or without.

    For data that does not fit on the device. Its workers are started for each epoch.
    """

    def __init__(
        self,
        split: Split,
        training: HostTraining,
        rng_seed: int,
        *,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self._order = EpochBatches(len(split), training, rng_seed)
        self._rows = _Rows(split)
        self._device = device
        self._workers = workers
        # Pinned memory can be copied while the device computes.
        self._pinned = device.type == "cuda" and split.inputs.device.type == "cpu"

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yields an epoch's batches."""
        loader: DataLoader[Batch] = DataLoader(
            self._rows,
            batch_sampler=[rows.tolist() for rows in self._order.indices(epoch)],
            collate_fn=_identity,
            num_workers=self._workers,
            pin_memory=self._pinned,
            # Forked workers share the rows; spawned ones would get a copy.
            multiprocessing_context=multiprocessing.get_context("fork") if self._workers else None,
        )
        for inputs, targets in loader:
            yield (
                inputs.to(self._device, non_blocking=self._pinned),
                targets.to(self._device, non_blocking=self._pinned),
            )

    def count(self) -> int:
        """Returns how many batches an epoch has."""
        return self._order.count


class EpochBatches:
    """The row indices of each batch of an epoch.

    Attributes:
        count: Batches of an epoch.
    """

    def __init__(self, rows: int, training: HostTraining, rng_seed: int) -> None:
        self._rows, self._rng_seed = rows, rng_seed
        self._size = training.batch_size
        self.count = training.batches(rows)

    def indices(self, epoch: int) -> Sequence[Tensor]:
        """Returns the row indices [B] int64 of each batch."""
        order = epoch_order(self._rng_seed, epoch, self._rows)
        batches: Sequence[Tensor] = order[: self.count * self._size].split(self._size)
        return batches


class _Rows(Dataset[Batch]):
    """A dataset that a DataLoader reads a batch at a time."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitems__(self, rows: list[int]) -> Batch:
        chosen = torch.tensor(rows, device=self._split.inputs.device)
        return self._split.inputs[chosen], self._split.targets[chosen]


def _identity(batch: Any) -> Any:
    return batch


def check_feed(feed: FeedConfig, device: torch.device) -> None:
    """Checks that settings fit the device and each other.

    Raises:
        TolariaError: If a setting does not fit the device, or two settings exclude each other.
    """
    if device.type == "cpu":
        if feed.gpu_preload:
            raise TolariaError(
                f"feed.gpu_preload needs a CUDA device, and hosts train on {device}, where all "
                "rows are in memory already; leave it out"
            )
        if feed.gpu_preload_gather and feed.num_workers:
            raise _no_workers("feed.gpu_preload_gather", feed.num_workers)
        return
    if feed.gpu_preload_gather and not feed.gpu_preload:
        raise TolariaError("feed.gpu_preload_gather gathers rows on the GPU; add feed.gpu_preload")
    if feed.gpu_preload and feed.num_workers:
        raise _no_workers("feed.gpu_preload", feed.num_workers)


def build_feed(
    split: Split, training: HostTraining, rng_seed: int, feed: FeedConfig, device: torch.device
) -> Feed:
    """Builds the feed of a configuration.

    On a CPU rows are gathered in memory, or loaded by ``num_workers`` processes. On CUDA a
    DataLoader copies them to the device, unless all rows are there already.

    Args:
        split: Training rows, on a CPU.
        training: Batch size and batches of an epoch.
        rng_seed: Random seed of the data set, for the order of its rows.
        feed: Checked by ``check_feed``.
        device: Where hosts train.
    """
    on_cpu = device.type == "cpu"
    if (on_cpu and not feed.num_workers) or feed.gpu_preload_gather:
        return GatherFeed(split.to(device), training, rng_seed)
    held = split.to(device if feed.gpu_preload else torch.device("cpu"))
    return LoaderFeed(held, training, rng_seed, device=device, workers=feed.num_workers)


def _no_workers(setting: str, count: int) -> TolariaError:
    return TolariaError(
        f"{setting} reads rows without worker processes, so feed.num_workers cannot be {count}; "
        "use one of the two"
    )
