"""A data set that shards map from one file: equal tensors, shared pages, no leftovers."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from esper_tolaria import Dataset, Split, TolariaError
from esper_tolaria.sharding.shared_data import open_shared, share_dataset


def dataset(*shape: int) -> Dataset:
    train, validation, test = (
        Split(torch.randn(rows, *shape), torch.arange(rows)) for rows in (7, 3, 2)
    )
    return Dataset(train=train, validation=validation, test=test, rng_seed=9)


@pytest.mark.parametrize("shape", [(1, 40), (3, 8, 6)], ids=["signals", "images"])
def test_mapped_tensors_are_equal_and_stay_valid_after_the_context(shape: tuple[int, ...]) -> None:
    data = dataset(*shape)
    with share_dataset(data) as shared:
        mapped = open_shared(shared)
    for name in ("train", "validation", "test"):
        for part in ("inputs", "targets"):
            one, other = (getattr(getattr(each, name), part) for each in (data, mapped))
            assert torch.equal(one, other)
            assert one.dtype == other.dtype
    assert mapped.rng_seed == 9
    if len(shape) == 3:
        assert mapped.train.inputs.is_contiguous(memory_format=torch.channels_last)


def test_tokens_and_targets_that_share_memory() -> None:
    tokens = torch.arange(24).view(4, 6)
    split = Split(tokens[:, :-1], tokens[:, 1:])
    with share_dataset(Dataset(train=split, validation=split, test=split, rng_seed=0)) as shared:
        mapped = open_shared(shared)
    assert torch.equal(mapped.test.inputs, tokens[:, :-1])
    assert torch.equal(mapped.test.targets, tokens[:, 1:])


def test_mapped_tensors_share_memory() -> None:
    def own_bytes() -> int:
        rollup = Path("/proc/self/smaps_rollup").read_text()
        return sum(
            1024 * int(line.split()[1])
            for line in rollup.splitlines()
            if line.startswith("Anonymous:")
        )

    rows = Split(torch.ones(50_000, 1, 200), torch.zeros(50_000, dtype=torch.int64))
    few = Split(torch.ones(1, 1, 200), torch.zeros(1, dtype=torch.int64))
    with share_dataset(Dataset(train=rows, validation=few, test=few, rng_seed=0)) as shared:
        before = own_bytes()
        mapped = open_shared(shared)
        assert mapped.train.inputs.sum() == 50_000 * 200
        assert own_bytes() - before < 20e6


def test_missing_disk_space_is_a_one_line_error(monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(TolariaError, match=r"/nowhere .*No such file.*TMPDIR"),
        share_dataset(dataset(1, 4)),
    ):
        pass


def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    script = """
import sys, time, torch
from esper_tolaria import Dataset, Split
from esper_tolaria.sharding.shared_data import open_shared, share_dataset
rows = Split(torch.ones(100, 1, 4), torch.zeros(100, dtype=torch.int64))
with share_dataset(Dataset(train=rows, validation=rows, test=rows, rng_seed=0)) as shared:
    print(shared.train[0].path, flush=True)
    time.sleep(600)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    assert path.exists()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_size_is_a_one_line_error():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with (
            pytest.raises(TolariaError, match=r"\(File too large\); free some space.*--workers 1"),
            share_dataset(dataset(1, 4)),
        ):
            pytest.fail("the context was entered")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
