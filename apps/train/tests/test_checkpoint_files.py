"""Checkpoint files are written whole or not at all."""

from __future__ import annotations

import resource

import pytest

from esper_train.checkpoints.files import copy_checkpoint, load_checkpoint, save_checkpoint
from esper_train.errors import TrainError


@pytest.fixture
def sound(sound_checkpoint, small_config):
    return sound_checkpoint(small_config())


@pytest.fixture
def small_disk():
    """A limit on file sizes stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_too_large_for_the_disk_leaves_the_old_one(tmp_path, small_disk, sound):
    manifest, state = sound
    path = tmp_path / "checkpoints" / "round-00001.safetensors"
    save_checkpoint(path, manifest, state)
    before = path.read_bytes()
    small_disk()
    with pytest.raises(TrainError, match=r"cannot write checkpoint .*: File too large"):
        save_checkpoint(path, manifest, state)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before
    assert load_checkpoint(path)[0] == manifest


def test_a_copy_too_large_for_the_disk_names_the_checkpoint(tmp_path, small_disk, sound):
    path, copied = tmp_path / "round-00001.safetensors", tmp_path / "policy.safetensors"
    save_checkpoint(path, *sound)
    copy_checkpoint(path, copied)
    assert copied.read_bytes() == path.read_bytes()
    copied.unlink()
    small_disk()
    with pytest.raises(TrainError, match=r"cannot write --save .*round-00001.safetensors'"):
        copy_checkpoint(path, copied)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
