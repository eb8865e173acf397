"""Data sets in memory: three splits of tensors, and the row order of an epoch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from esper_leyline import DataSpec, unknown_name
from esper_tolaria.datasets.cifar10 import cifar10_is_here, fetch_cifar10, load_cifar10
from esper_tolaria.datasets.digits import load_digits
from esper_tolaria.datasets.fashion_mnist import (
    fashion_mnist_is_here,
    fetch_fashion_mnist,
    load_fashion_mnist,
)
from esper_tolaria.datasets.mnist1d import load_mnist1d, load_shuffled_mnist1d
from esper_tolaria.datasets.order import epoch_order
from esper_tolaria.datasets.sources import TASKS_WITHOUT_DOWNLOAD, Source
from esper_tolaria.datasets.splits import Dataset, Split
from esper_tolaria.datasets.tinystories import (
    fetch_tinystories,
    load_tinystories,
    tinystories_is_here,
)
from esper_tolaria.datasets.topics import load_topics
from esper_tolaria.errors import TolariaError

__all__ = [
    "DATA_ROOT",
    "SOURCES",
    "TASKS_WITHOUT_DOWNLOAD",
    "Dataset",
    "Source",
    "Split",
    "data_is_here",
    "epoch_order",
    "fetch_data",
    "load_dataset",
]

DATA_ROOT = Path("data")
"""Default folder of downloaded data."""

SOURCES: dict[str, Source] = {
    "cifar10": Source(load=load_cifar10, is_here=cifar10_is_here, fetch=fetch_cifar10),
    "digits": Source(load=load_digits),
    "fashion_mnist": Source(
        load=load_fashion_mnist, is_here=fashion_mnist_is_here, fetch=fetch_fashion_mnist
    ),
    "mnist1d": Source(load=load_mnist1d),
    "mnist1d_shuffled": Source(load=load_shuffled_mnist1d),
    "tinystories": Source(
        load=load_tinystories, is_here=tinystories_is_here, fetch=fetch_tinystories
    ),
    "topics": Source(load=load_topics),
}
"""How to load each data set, by ``DataSpec.name``."""


def data_is_here(spec: DataSpec, root: Path = DATA_ROOT) -> bool:
    """Whether a data set can be loaded without a download.

    Raises:
        TolariaError: If no source is known for it.
    """
    return _source(spec).is_here(root)


def fetch_data(spec: DataSpec, root: Path = DATA_ROOT) -> None:
    """Downloads a data set to a folder under ``root``, unless it is here.

    Raises:
        TolariaError: If no source is known for it, or the download failed.
    """
    source = _source(spec)
    if source.fetch is not None and not source.is_here(root):
        source.fetch(root)


def load_dataset(spec: DataSpec, root: Path = DATA_ROOT) -> Dataset:
    """Returns a data set, which is downloaded first if it is not here.

    It is created once per process and shared; do not write to it.

    Raises:
        TolariaError: If no source is known for it, the download failed, or files are damaged.
    """
    return _load(spec, root)


@cache
def _load(spec: DataSpec, root: Path) -> Dataset:
    fetch_data(spec, root)
    return _source(spec).load(spec, root)


def _source(spec: DataSpec) -> Source:
    if spec.name not in SOURCES:
        raise TolariaError(unknown_name("data set", spec.name, SOURCES))
    return SOURCES[spec.name]
