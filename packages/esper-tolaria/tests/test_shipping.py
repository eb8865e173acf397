"""Data laid into files comes back as it was, pictures with their channels last."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from esper_tolaria import Dataset, Split, TolariaError
from esper_tolaria.shipping import lay, take


def dataset(*shape: int) -> Dataset:
    train, validation, test = (
        Split(torch.randn(rows, *shape), torch.arange(rows)) for rows in (7, 3, 2)
    )
    return Dataset(train=train, validation=validation, test=test, seed=9)


@pytest.mark.parametrize("shape", [(1, 40), (3, 8, 6)], ids=["signals", "pictures"])
def test_data_comes_back_after_its_files_are_gone(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = dataset(*shape)
    taken = take(lay(data, tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    for name in ("train", "validation", "test"):
        for part in ("inputs", "targets"):
            one, other = (getattr(getattr(each, name), part) for each in (data, taken))
            assert torch.equal(one, other)
            assert one.dtype == other.dtype
    assert taken.seed == 9
    if len(shape) == 3:
        assert taken.train.inputs.is_contiguous(memory_format=torch.channels_last)


def test_tokens_and_their_targets_come_back(tmp_path: Path) -> None:
    tokens = torch.arange(20).view(4, 5)
    split = Split(tokens, tokens + 1)
    taken = take(lay(Dataset(train=split, validation=split, test=split, seed=0), tmp_path))
    assert torch.equal(taken.test.inputs, tokens)
    assert torch.equal(taken.test.targets, tokens + 1)


def test_no_place_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(TolariaError, match=r"cannot be laid out .*TMPDIR"):
        lay(dataset(1, 4), tmp_path / "nowhere")
