"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of ten classes, 32 by 32 pixels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from esper_leyline import DataSpec
from esper_tolaria.datasets.failures import damaged_file
from esper_tolaria.datasets.images import Images, Scale, download, image_dataset
from esper_tolaria.datasets.splits import Dataset

FOLDER = "cifar-10-batches-py"
TRAINING_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
SCALE = Scale(largest=255, mean=(0.4914, 0.4822, 0.4465), deviation=(0.2470, 0.2435, 0.2616))

_SHAPE = (3, 32, 32)
_ALLOWED = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


def cifar10_is_here(root: Path) -> bool:
    """Whether all files are in their folder under ``root``."""
    return all((root / FOLDER / name).is_file() for name in (*TRAINING_FILES, TEST_FILE))


def fetch_cifar10(root: Path) -> None:
    """Downloads and unpacks the files, which torchvision checks.

    Raises:
        TolariaError: If that fails.
    """
    # Torchvision imports torch's compiler, which takes seconds; reading files needs neither.
    from torchvision.datasets import CIFAR10  # noqa: PLC0415

    download(
        CIFAR10,
        "CIFAR-10",
        root,
        places=f"'{root / FOLDER}'",
        command=f"mkdir -p '{root}' && curl -L {CIFAR10.url} | tar xz -C '{root}'",
    )


def load_cifar10(spec: DataSpec, root: Path) -> Dataset:
    """Reads the images; test rows come from the published test file.

    Raises:
        TolariaError: If a file is damaged, or there are too few rows.
    """
    folder = root / FOLDER
    batches = [_read(folder / name) for name in TRAINING_FILES]
    training = Images(
        pixels=np.concatenate([batch.pixels for batch in batches]),
        labels=np.concatenate([batch.labels for batch in batches]),
    )
    test = _read(folder / TEST_FILE)
    return image_dataset(spec, training, test, SCALE, place=f"'{folder}'")


def _read(path: Path) -> Images:
    try:
        with path.open("rb") as file:
            batch: dict[str, Any] = _Unpickler(file, encoding="latin1").load()
        pixels = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, *_SHAPE)
        labels = np.asarray(batch["labels"], dtype=np.int64)
    except (OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise damaged_file(path, f"{type(error).__name__}: {error}") from None
    if len(pixels) != len(labels):
        raise damaged_file(path, f"{len(pixels)} images, {len(labels)} labels")
    return Images(pixels=pixels, labels=labels)


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays and plain values only; runs no code from the file."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)
