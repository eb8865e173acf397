from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import TrainingConfig
from esper_tolaria import (
    Split,
    TolariaError,
    data_is_here,
    fetch_data,
    find_task,
    load_dataset,
    task_names,
)
from esper_tolaria.datasets.mnist1d import GENERATOR_SEED, SIGNAL_LENGTH, shuffled_order
from esper_tolaria.datasets.order import epoch_order
from esper_tolaria.registry import DATA_ROOT

TASK = find_task("mnist1d_blind").spec
WITHOUT_DOWNLOAD = ("digits", "mnist1d", "mnist1d_blind", "mnist1d_shuffled", "topics")
SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_splits_have_the_sizes_and_shapes_of_the_task(name):
    task = find_task(name).spec
    spec, data = task.data, load_dataset(task)
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
def test_inputs_are_normalized(name):
    inputs = load_dataset(find_task(name).spec).train.inputs
    assert abs(inputs.mean()) < 0.5
    assert 0.5 < inputs.std() < 2.0


def test_tasks_without_a_download_are_known():
    found = {name for name in task_names() if find_task(name).fetch is None}
    assert found == set(WITHOUT_DOWNLOAD)


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_data_without_a_download_is_always_available(name, nowhere):
    task = find_task(name).spec
    assert data_is_here(task, nowhere)
    fetch_data(task, nowhere)
    assert not nowhere.exists()


def test_the_default_folder_is_that_of_the_configuration():
    assert Path(TrainingConfig().data_root) == DATA_ROOT


def test_shuffled_signals_are_the_same_points_in_another_order():
    plain, shuffled = (load_dataset(find_task(n).spec) for n in ("mnist1d", "mnist1d_shuffled"))
    order = shuffled_order()
    assert sorted(order) == list(range(40))
    near = np.abs(np.diff(order)) == 1
    assert near.mean() < 0.2
    for name in SPLITS:
        before, after = getattr(plain, name), getattr(shuffled, name)
        assert torch.equal(after.inputs, before.inputs[..., torch.from_numpy(order)])
        assert torch.equal(after.targets, before.targets)
        assert after.inputs.is_contiguous()


def test_no_row_is_in_two_splits():
    data = load_dataset(TASK)
    rows = [row.numpy().tobytes() for name in SPLITS for row in getattr(data, name).inputs]
    assert len(set(rows)) == TASK.data.train_size + TASK.data.validation_size + TASK.data.test_size


def test_splits_share_no_memory():
    data = load_dataset(TASK)
    storages = {getattr(data, name).inputs.untyped_storage().data_ptr() for name in SPLITS}
    assert len(storages) == 3


def test_generation_is_reproducible_silent_and_leaves_global_generators_unchanged(
    task, capsys, tmp_path, monkeypatch
):
    first = load_dataset(task)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # an empty cache
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    again = find_task("mnist1d").load(task.data, Path())
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert capsys.readouterr().out == ""
    assert again is not first
    assert len(list((tmp_path / "esper" / "data").iterdir())) == 1
    for name in SPLITS:
        assert torch.equal(getattr(again, name).inputs, getattr(first, name).inputs)
        assert torch.equal(getattr(again, name).targets, getattr(first, name).targets)


def test_data_is_loaded_once_per_process():
    assert load_dataset(TASK) is load_dataset(find_task("mnist1d_blind").spec, DATA_ROOT)


def test_data_of_an_unknown_task_is_an_error():
    task = TASK.model_copy(update={"name": "mnist2d"})
    with pytest.raises(TolariaError, match=r"unknown task 'mnist2d'.*mnist1d"):
        load_dataset(task)
    with pytest.raises(TolariaError, match="unknown task 'mnist2d'"):
        data_is_here(task)


def test_tasks_with_the_same_data_share_it():
    assert load_dataset(find_task("mnist1d").spec) is load_dataset(TASK)
    assert load_dataset(find_task("mnist1d_shuffled").spec) is not load_dataset(TASK)


def test_mnist1d_is_described_as_it_is_generated():
    assert TASK.data.input_shape == (1, SIGNAL_LENGTH)
    assert f"from seed {GENERATOR_SEED};" in TASK.data.source


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 10_000), rows=st.integers(1, 300))
def test_an_epoch_is_a_permutation_seeded_by_seed_and_epoch(seed, epoch, rows):
    order = epoch_order(seed, epoch, rows)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(rows))
    np.random.seed(epoch)  # noqa: NPY002
    torch.manual_seed(seed)
    assert torch.equal(order, epoch_order(seed, epoch, rows))


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 10_000))
def test_orders_differ_between_epochs_and_between_seeds(seed, epoch):
    order = epoch_order(seed, epoch, 200)
    assert not torch.equal(order, epoch_order(seed, epoch + 1, 200))
    assert not torch.equal(order, epoch_order(seed + 1, epoch, 200))


def test_images_and_gathered_rows_are_channels_last() -> None:
    split = Split(torch.randn(6, 3, 4, 4), torch.arange(6)).to(torch.device("cpu"))
    chosen = split.inputs[torch.tensor([4, 1])]
    assert chosen.is_contiguous(memory_format=torch.channels_last)
    signals = Split(torch.randn(6, 3, 4), torch.arange(6))
    assert signals.to(torch.device("cpu")).inputs is signals.inputs
