"""Pictures as they are published, and the data sets made of them."""

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
class Pictures:
    """Pictures [N, C, H, W] of whole numbers and their labels [N]."""

    pixels: NDArray[np.integer]
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What makes pixels numbers around zero: (pixel / largest - mean) / deviation.

    Attributes:
        largest: The value of a full pixel.
        mean: By channel, of the training pictures.
        deviation: By channel, of the training pictures.
    """

    largest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def download(
    published: Callable[..., object], title: str, root: Path, *, places: str, command: str
) -> None:
    """Has torchvision download pictures to a folder, and check them.

    Args:
        published: Torchvision's class of the data set.
        title: Of the data set.
        root: The folder that it gets a folder in.
        places: Where the pictures were looked for, for messages.
        command: Gets them where there is internet.

    Raises:
        TolariaError: If that fails.
    """
    try:
        published(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise missing_data(title, places=places, reason=str(error), command=command) from None


def picture_dataset(
    spec: DataSpec, training: Pictures, test: Pictures, scale: Scale, *, place: str
) -> Dataset:
    """Holds validation rows out of the training pictures, and leaves the test as it is.

    Args:
        spec: Says how many rows each split has.
        training: What is published for training.
        test: What is published for testing; its first rows are taken.
        scale: How to normalise.
        place: Where the pictures are from, for messages.

    Raises:
        TolariaError: If there are too few pictures, or of another shape.
    """
    for pictures in (training, test):
        _check_shape(spec, pictures, place)
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
    """Draws the rows to validate on and the rows to train on, which have none in common.

    The rows to validate on do not depend on how many are trained on.

    Raises:
        TolariaError: If there are too few rows.
    """
    wanted = spec.validation_size + spec.train_size
    check_rows(spec, "training and validation", wanted, rows, place=place)
    order = np.random.default_rng(SPLIT_SEED).permutation(rows)[:wanted]
    return order[: spec.validation_size], order[spec.validation_size :]


def check_rows(spec: DataSpec, what: str, wanted: int, found: int, *, place: str) -> None:
    """Refuses a data set with too few rows.

    Raises:
        TolariaError: Naming both numbers.
    """
    if found < wanted:
        raise TolariaError(
            f"data set '{spec.name}' needs {wanted} rows for {what}, and {place} has {found}; "
            "replace what is there by the whole data set"
        )


def _check_shape(spec: DataSpec, pictures: Pictures, place: str) -> None:
    shape = pictures.pixels.shape[1:]
    if shape != spec.input_shape:
        raise TolariaError(
            f"data set '{spec.name}' is of pictures {spec.input_shape}, and {place} has {shape}; "
            "replace what is there by the whole data set"
        )


def _split(pictures: Pictures, rows: NDArray[np.integer], scale: Scale) -> Split:
    inputs = torch.from_numpy(pictures.pixels[rows].astype(np.float32))
    inputs.div_(scale.largest).sub_(_by_channel(scale.mean)).div_(_by_channel(scale.deviation))
    return Split(inputs, torch.from_numpy(pictures.labels[rows].astype(np.int64)))


def _by_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
