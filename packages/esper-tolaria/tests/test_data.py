from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import DataSpec, TrainingConfig
from esper_tolaria import (
    TASKS,
    Split,
    TolariaError,
    data_is_here,
    fetch_data,
    get_task,
    load_dataset,
)
from esper_tolaria.datasets import DATA_ROOT, SOURCES, TASKS_WITHOUT_DOWNLOAD, epoch_order
from esper_tolaria.datasets.mnist1d import shuffled_places

SPEC = get_task("mnist1d_blind").data
SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("name", TASKS_WITHOUT_DOWNLOAD)
def test_splits_have_the_sizes_and_shapes_of_the_task(name):
    task = get_task(name)
    spec, data = task.data, load_dataset(task.data)
    sizes = (spec.train_size, spec.validation_size, spec.test_size)
    text = task.host.kind == "transformer"
    for part, size in zip(SPLITS, sizes, strict=True):
        split = getattr(data, part)
        assert split.inputs.shape == (size, *spec.input_shape)
        assert split.inputs.dtype == (torch.int64 if text else torch.float32)
        assert split.targets.shape == ((size, *spec.input_shape) if text else (size,))
        assert split.targets.dtype == torch.int64
        assert 0 <= split.targets.min() < split.targets.max() < spec.classes
        if not text:
            assert set(split.targets.tolist()) == set(range(spec.classes))


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_inputs_are_of_ordinary_size(name):
    inputs = load_dataset(get_task(name).data).train.inputs
    assert abs(inputs.mean()) < 0.5
    assert 0.5 < inputs.std() < 2.0


def test_the_tasks_that_need_no_download_are_those_that_have_none():
    found = {name for name in TASKS if SOURCES[get_task(name).data.name].fetch is None}
    assert found == set(TASKS_WITHOUT_DOWNLOAD)


@pytest.mark.parametrize("name", TASKS_WITHOUT_DOWNLOAD)
def test_what_needs_no_download_is_always_here(name, nowhere):
    spec = get_task(name).data
    assert data_is_here(spec, nowhere)
    fetch_data(spec, nowhere)
    assert not nowhere.exists()


def test_the_usual_folder_is_that_of_the_configuration():
    assert Path(TrainingConfig().data_root) == DATA_ROOT


def test_shuffled_signals_are_the_same_points_in_another_order():
    plain, shuffled = (load_dataset(get_task(n).data) for n in ("mnist1d", "mnist1d_shuffled"))
    places = shuffled_places()
    assert sorted(places) == list(range(40))
    near = np.abs(np.diff(places)) == 1
    assert near.mean() < 0.2
    for name in SPLITS:
        before, after = getattr(plain, name), getattr(shuffled, name)
        assert torch.equal(after.inputs, before.inputs[..., torch.from_numpy(places)])
        assert torch.equal(after.targets, before.targets)
        assert after.inputs.is_contiguous()


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
    again = SOURCES["mnist1d"].load(task.data, Path())
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert capsys.readouterr().out == ""
    assert again is not first
    for name in SPLITS:
        assert torch.equal(getattr(again, name).inputs, getattr(first, name).inputs)
        assert torch.equal(getattr(again, name).targets, getattr(first, name).targets)


def test_data_is_made_once_a_process():
    assert load_dataset(SPEC) is load_dataset(get_task("mnist1d_blind").data, DATA_ROOT)


def test_an_unknown_data_set_is_an_error():
    spec = DataSpec.model_validate(SPEC.model_dump() | {"name": "mnist2d"})
    with pytest.raises(TolariaError, match=r"unknown data set 'mnist2d'.*mnist1d"):
        load_dataset(spec)
    with pytest.raises(TolariaError, match="unknown data set 'mnist2d'"):
        data_is_here(spec)


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


def test_pictures_lie_channels_last_and_rows_keep_that() -> None:
    split = Split(torch.randn(6, 3, 4, 4), torch.arange(6)).to(torch.device("cpu"))
    chosen = split.inputs[torch.tensor([4, 1])]
    assert chosen.is_contiguous(memory_format=torch.channels_last)
    signals = Split(torch.randn(6, 3, 4), torch.arange(6))
    assert signals.to(torch.device("cpu")).inputs is signals.inputs
