"""Data for shards of this machine: laid into files once, and mapped by everyone.

So K shards hold it once, in the page cache, and none waits for hundreds of megabytes to
come through a pipe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from esper_tolaria.datasets import Dataset, Split
from esper_tolaria.errors import TolariaError


@dataclass(frozen=True, slots=True)
class Laid:
    """A tensor in a file.

    Attributes:
        path: The file, which may go once it is mapped.
        shape: As it lies in the file; pictures lie channels last.
        dtype: Of its numbers.
        pictures: Whether the last axis is the channels, which belong behind the rows.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    pictures: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """A data set in files: inputs and targets of each split."""

    train: tuple[Laid, Laid]
    validation: tuple[Laid, Laid]
    test: tuple[Laid, Laid]
    seed: int


def lay(data: Dataset, folder: Path) -> Cargo:
    """Writes a data set to files in a folder.

    Raises:
        TolariaError: If there is no room.
    """
    try:
        train, validation, test = (
            (
                _lay(split.inputs, folder / f"{name}-inputs"),
                _lay(split.targets, folder / f"{name}-targets"),
            )
            for name, split in (
                ("train", data.train),
                ("validation", data.validation),
                ("test", data.test),
            )
        )
    except OSError as error:
        raise TolariaError(
            f"the data cannot be laid out for worker processes in '{folder}' ({error.strerror}); "
            "make room, or name another folder with the environment variable TMPDIR"
        ) from None
    return Cargo(train=train, validation=validation, test=test, seed=data.seed)


def take(cargo: Cargo) -> Dataset:
    """Maps a data set that was laid into files. Nobody may write to it."""
    splits = {
        each.name: Split(*map(_take, getattr(cargo, each.name)))
        for each in fields(cargo)
        if each.name != "seed"
    }
    return Dataset(**splits, seed=cargo.seed)


def _lay(tensor: Tensor, path: Path) -> Laid:
    pictures = tensor.dim() == 4
    lying = (tensor.permute(0, 2, 3, 1) if pictures else tensor).contiguous()
    lying.numpy().tofile(path)
    return Laid(path, tuple(lying.shape), lying.dtype, pictures)


def _take(laid: Laid) -> Tensor:
    size = math.prod(laid.shape)
    mapped = torch.from_file(str(laid.path), shared=False, size=size, dtype=laid.dtype)
    lying = mapped.view(laid.shape)
    return lying.permute(0, 3, 1, 2) if laid.pictures else lying
