"""Data in memory: three splits of tensors, and the order in which epochs read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from esper_leyline import DataSpec, unknown_name
from esper_tolaria.datasets.mnist1d import load_mnist1d
from esper_tolaria.datasets.order import epoch_order
from esper_tolaria.datasets.splits import Dataset, Split
from esper_tolaria.errors import TolariaError

__all__ = ["LOADERS", "Dataset", "Split", "epoch_order", "load_dataset"]

LOADERS: dict[str, Callable[[DataSpec], Dataset]] = {"mnist1d": load_mnist1d}
"""What makes the data set of each ``DataSpec.name``."""


@cache
def load_dataset(spec: DataSpec) -> Dataset:
    """Returns the data of a task; made once a process and shared, so nobody may write to it.

    Raises:
        TolariaError: If no loader is known for the data set.
    """
    if spec.name not in LOADERS:
        raise TolariaError(unknown_name("data set", spec.name, LOADERS))
    return LOADERS[spec.name](spec)
