"""MNIST-1D (Greydanus and Kobak, "Scaling down deep learning", 2024), generated once."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from esper_leyline import DataSpec
from esper_tolaria.datasets.generated import Arrays, generate_once
from esper_tolaria.datasets.splits import Dataset, Split

GENERATOR_SEED = 42
SIGNAL_LENGTH = 40


def load_mnist1d(spec: DataSpec, _root: Path) -> Dataset:
    """Returns the signals, divided into the splits of ``spec`` in order."""
    return _cut(spec, *_signals(spec))


def load_shuffled_mnist1d(spec: DataSpec, _root: Path) -> Dataset:
    """Returns the same signals with their points in a fixed random order."""
    signals, labels = _signals(spec)
    return _cut(spec, np.take(signals, shuffled_order(), axis=1), labels)


def shuffled_order() -> NDArray[np.integer]:
    """Returns the index of the original point at each position of a shuffled signal, [40]."""
    return np.random.default_rng(GENERATOR_SEED).permutation(SIGNAL_LENGTH)


def _signals(spec: DataSpec) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns signals [rows, 40] and labels [rows], classes balanced and shuffled."""
    rows = spec.train_size + spec.validation_size + spec.test_size
    made = generate_once(
        "mnist1d",
        (rows, SIGNAL_LENGTH, GENERATOR_SEED),
        ("mnist1d", "numpy", "scipy"),
        lambda: _generate(rows),
    )
    return made["signals"].astype(np.float32), made["labels"].astype(np.int64)


def _cut(spec: DataSpec, signals: NDArray[np.float32], labels: NDArray[np.int64]) -> Dataset:
    sizes = (spec.train_size, spec.validation_size, spec.test_size)
    inputs, targets = torch.from_numpy(signals).unsqueeze(1), torch.from_numpy(labels)
    rows = zip(inputs.split(sizes), targets.split(sizes), strict=True)
    train, validation, test = (Split(chosen.clone(), label.clone()) for chosen, label in rows)
    return Dataset(train=train, validation=validation, test=test, rng_seed=GENERATOR_SEED)


def _generate(rows: int) -> Arrays:
    # The package imports scipy.interpolate and matplotlib.pyplot, which takes seconds.
    from mnist1d.data import get_dataset_args, make_dataset  # noqa: PLC0415

    arguments = get_dataset_args()
    arguments.seed = GENERATOR_SEED
    arguments.final_seq_length = SIGNAL_LENGTH
    classes = 10
    arguments.num_samples = -(-rows // classes) * classes
    with _global_state_preserved():
        made = make_dataset(arguments)
    signals = np.concatenate([made["x"], made["x_test"]])[:rows]
    labels = np.concatenate([made["y"], made["y_test"]])[:rows]
    return {"signals": signals.astype(np.float32), "labels": labels.astype(np.int64)}


@contextlib.contextmanager
def _global_state_preserved() -> Iterator[None]:
    """Restores the global generators, which the package seeds, and keeps stdout clean."""
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(pytorch)
