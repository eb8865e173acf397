from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import DataSpec
from esper_tolaria import TolariaError, get_task, load_dataset
from esper_tolaria.datasets import epoch_order

SPEC = get_task("mnist1d").data
SPLITS = ("train", "validation", "test")


def test_splits_have_the_sizes_and_shapes_of_the_task():
    data = load_dataset(SPEC)
    sizes = (SPEC.train_size, SPEC.validation_size, SPEC.test_size)
    for name, size in zip(SPLITS, sizes, strict=True):
        split = getattr(data, name)
        assert split.inputs.shape == (size, *SPEC.input_shape)
        assert split.inputs.dtype == torch.float32
        assert split.targets.shape == (size,)
        assert split.targets.dtype == torch.int64
        assert set(split.targets.tolist()) == set(range(SPEC.classes))


def test_no_row_is_in_two_splits():
    data = load_dataset(SPEC)
    rows = [row.numpy().tobytes() for name in SPLITS for row in getattr(data, name).inputs]
    assert len(set(rows)) == SPEC.train_size + SPEC.validation_size + SPEC.test_size


def test_splits_share_no_memory():
    data = load_dataset(SPEC)
    storages = {getattr(data, name).inputs.untyped_storage().data_ptr() for name in SPLITS}
    assert len(storages) == 3


def test_generation_is_reproducible_quiet_and_leaves_every_generator_alone(task, capsys):
    first = load_dataset(task.data)
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    again = load_dataset.__wrapped__(task.data)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert capsys.readouterr().out == ""
    assert again is not first
    for name in SPLITS:
        assert torch.equal(getattr(again, name).inputs, getattr(first, name).inputs)
        assert torch.equal(getattr(again, name).targets, getattr(first, name).targets)


def test_data_is_made_once_a_process():
    assert load_dataset(SPEC) is load_dataset(get_task("mnist1d").data)


def test_an_unknown_data_set_is_an_error():
    spec = DataSpec.model_validate(SPEC.model_dump() | {"name": "mnist2d"})
    with pytest.raises(TolariaError, match=r"unknown data set 'mnist2d'.*mnist1d"):
        load_dataset(spec)


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 10_000), rows=st.integers(1, 300))
def test_an_epoch_reads_every_row_once_in_an_order_that_seed_and_epoch_decide(seed, epoch, rows):
    order = epoch_order(seed, epoch, rows)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(rows))
    np.random.seed(epoch)  # noqa: NPY002
    torch.manual_seed(seed)
    assert torch.equal(order, epoch_order(seed, epoch, rows))


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 10_000))
def test_orders_differ_from_epoch_to_epoch_and_seed_to_seed(seed, epoch):
    order = epoch_order(seed, epoch, 200)
    assert not torch.equal(order, epoch_order(seed, epoch + 1, 200))
    assert not torch.equal(order, epoch_order(seed + 1, epoch, 200))
