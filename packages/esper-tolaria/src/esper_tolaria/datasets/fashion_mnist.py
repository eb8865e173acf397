"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 70,000 grey images of ten kinds of clothes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from esper_leyline import DataSpec
from esper_tolaria.datasets.failures import damaged_file
from esper_tolaria.datasets.idx import read_idx
from esper_tolaria.datasets.images import Images, Scale, download, image_dataset
from esper_tolaria.datasets.splits import Dataset

FOLDER = Path("FashionMNIST") / "raw"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts the files."""

PARTS = ("train", "t10k")
SCALE = Scale(largest=255, mean=(0.2860,), deviation=(0.3530,))


def fashion_mnist_is_here(root: Path) -> bool:
    """Whether all files are under ``root`` or installed by the Debian package."""
    return _folder(root) is not None


def fetch_fashion_mnist(root: Path) -> None:
    """Downloads the files, which torchvision checks.

    Raises:
        TolariaError: If that fails.
    """
    # Torchvision imports torch's compiler, which takes seconds; reading files needs neither.
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415

    download(
        FashionMNIST,
        "Fashion-MNIST",
        root,
        places=f"'{root / FOLDER}' or '{SYSTEM_FOLDER}'",
        command="apt-get install dataset-fashion-mnist` or `python -c 'from "
        f'torchvision.datasets import FashionMNIST; FashionMNIST("{root}", download=True)\'',
    )


def load_fashion_mnist(spec: DataSpec, root: Path) -> Dataset:
    """Reads the images; test rows come from the published test files.

    Raises:
        TolariaError: If a file is damaged, or there are too few rows.
    """
    folder = _folder(root)
    assert folder is not None, "the files are fetched before they are read"
    training, test = (_read(folder, part) for part in PARTS)
    return image_dataset(spec, training, test, SCALE, place=f"'{folder}'")


def _folder(root: Path) -> Path | None:
    """Returns the first folder with all four files, gzipped or not."""
    stems = [stem for part in PARTS for stem in _stems(part)]
    for folder in (root / FOLDER, SYSTEM_FOLDER):
        if all(_path(folder, stem).is_file() for stem in stems):
            return folder
    return None


def _read(folder: Path, part: str) -> Images:
    images, labels = (_path(folder, stem) for stem in _stems(part))
    pixels, targets = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or targets.shape != pixels.shape[:1]:
        raise damaged_file(labels, f"{targets.shape} labels for images {pixels.shape}")
    return Images(pixels=pixels[:, np.newaxis], labels=targets)


def _stems(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _path(folder: Path, stem: str) -> Path:
    plain = folder / stem
    return plain if plain.is_file() else folder / f"{stem}.gz"
