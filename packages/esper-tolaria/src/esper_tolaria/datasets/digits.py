"""Handwritten digits (Alpaydin and Kaynak 1998): 1,797 pictures of 8 by 8 pixels.

They lie in this package, 45 kB, under the licence CC BY 4.0: the test part of "Optical
Recognition of Handwritten Digits" of the UCI machine learning repository, as
scikit-learn hands it out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esper_leyline import DataSpec
from esper_tolaria.datasets.images import Pictures, Scale, picture_dataset
from esper_tolaria.datasets.splits import SPLIT_SEED, Dataset

FILE = Path(__file__).with_name("digits.npz")
SCALE = Scale(largest=16, mean=(0.31,), deviation=(0.38,))


def load_digits(spec: DataSpec, _root: Path) -> Dataset:
    """Reads the pictures and draws all three splits from them.

    Raises:
        TolariaError: If the spec asks for more rows than there are.
    """
    pictures = read_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pictures.labels))
    test, rest = np.split(order, [spec.test_size])
    return picture_dataset(
        spec, _chosen(pictures, rest), _chosen(pictures, test), SCALE, place=f"'{FILE.name}'"
    )


def read_digits() -> Pictures:
    """Returns all pictures [1797, 1, 8, 8], with pixels from 0 to 16, in the order published."""
    with np.load(FILE) as content:
        return Pictures(pixels=content["images"][:, np.newaxis], labels=content["labels"])


def _chosen(pictures: Pictures, rows: NDArray[np.integer]) -> Pictures:
    return Pictures(pixels=pictures.pixels[rows], labels=pictures.labels[rows])
