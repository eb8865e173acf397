"""Data sets of images: validation rows are held out, and pixels normalized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esper_leyline import DataSpec
from esper_tolaria.datasets.failures import missing_data
from esper_tolaria.datasets.splits import SPLIT_SEED, Dataset, Split
from esper_tolaria.errors import TolariaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images [N, C, H, W] as integers, and their labels [N]."""

    pixels: NDArray[np.integer]
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How pixels are normalized: (pixel / largest - mean) / deviation.

    Attributes:
        largest: Largest value of a pixel.
        mean: Of each channel over the training images, after division by ``largest``.
        deviation: Standard deviation of each channel.
    """

    largest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def download(
    published: Callable[..., object], title: str, root: Path, *, places: str, command: str
) -> None:
    """Downloads images with torchvision, which checks them.

    Args:
        published: Torchvision's class of the data set.
        title: Name of the data set.
        root: Folder in which torchvision creates a folder.
        places: The folders that were searched, for error messages.
        command: Downloads them on a machine with internet access, for error messages.

    Raises:
        TolariaError: If that fails.
    """
    try:
        published(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise missing_data(title, places=places, reason=str(error), command=command) from None


def image_dataset(
    spec: DataSpec, training: Images, test: Images, scale: Scale, *, place: str
) -> Dataset:
    """Builds the three splits; validation rows are held out from the training images.

    Args:
        spec: The number of rows of each split.
        training: Published training images.
        test: Published test images; the first rows are used.
        scale: How to normalize.
        place: The folder or file of the images, for error messages.

    Raises:
        TolariaError: If there are too few images, or their shape is not the spec's.
    """
    for images in (training, test):
        _check_shape(spec, images, place)
    held_out, kept = hold_out(spec, len(training.labels), place=place)
    check_rows(spec, "test", spec.test_size, len(test.labels), place=place)
    return Dataset(
        train=_split(training, kept, scale),
        validation=_split(training, held_out, scale),
        test=_split(test, np.arange(spec.test_size), scale),
        rng_seed=SPLIT_SEED,
    )


def hold_out(
    spec: DataSpec, rows: int, *, place: str
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Draws disjoint validation and training rows.

    The validation rows do not depend on the number of training rows.

    Raises:
        TolariaError: If there are too few rows.
    """
    wanted = spec.validation_size + spec.train_size
    check_rows(spec, "training and validation", wanted, rows, place=place)
    order = np.random.default_rng(SPLIT_SEED).permutation(rows)[:wanted]
    return order[: spec.validation_size], order[spec.validation_size :]


def check_rows(spec: DataSpec, what: str, wanted: int, found: int, *, place: str) -> None:
    """Checks that a data set has enough rows.

    Raises:
        TolariaError: If it has too few; names both numbers.
    """
    if found < wanted:
        raise TolariaError(
            f"data set '{spec.name}' needs {wanted} rows for {what}, and {place} has {found}; "
            "replace it with the complete data set"
        )


def _check_shape(spec: DataSpec, images: Images, place: str) -> None:
    shape = images.pixels.shape[1:]
    if shape != spec.input_shape:
        raise TolariaError(
            f"data set '{spec.name}' has images of shape {spec.input_shape}, and {place} "
            f"has {shape}; replace it with the complete data set"
        )


def _split(images: Images, rows: NDArray[np.integer], scale: Scale) -> Split:
    inputs = torch.from_numpy(images.pixels[rows].astype(np.float32))
    inputs.div_(scale.largest).sub_(_by_channel(scale.mean)).div_(_by_channel(scale.deviation))
    return Split(inputs, torch.from_numpy(images.labels[rows].astype(np.int64)))


def _by_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
