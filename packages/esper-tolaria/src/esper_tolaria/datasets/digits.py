"""Handwritten digits (Alpaydin and Kaynak 1998): 1,797 images of 8 by 8 pixels.

They are a file of this package, 45 kB, with the licence CC BY 4.0: the test part of "Optical
Recognition of Handwritten Digits" of the UCI machine learning repository, as distributed by
scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esper_leyline import DataSpec
from esper_tolaria.datasets.images import Images, Scale, image_dataset
from esper_tolaria.datasets.splits import SPLIT_SEED, Dataset

FILE = Path(__file__).with_name("digits.npz")
SCALE = Scale(largest=16, mean=(0.31,), deviation=(0.38,))


def load_digits(spec: DataSpec, _root: Path) -> Dataset:
    """Reads the images and draws all three splits from them.

    Raises:
        TolariaError: If the spec asks for more rows than there are.
    """
    images = read_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images.labels))
    test, rest = np.split(order, [spec.test_size])
    return image_dataset(
        spec, _chosen(images, rest), _chosen(images, test), SCALE, place=f"'{FILE.name}'"
    )


def read_digits() -> Images:
    """Returns all images [1797, 1, 8, 8], with pixels from 0 to 16, in the order published."""
    with np.load(FILE) as content:
        return Images(pixels=content["images"][:, np.newaxis], labels=content["labels"])


def _chosen(images: Images, rows: NDArray[np.integer]) -> Images:
    return Images(pixels=images.pixels[rows], labels=images.labels[rows])
