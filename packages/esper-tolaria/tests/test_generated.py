"""Generated data is kept in the user's cache, and generated again where the cache is no use."""

from __future__ import annotations

import numpy as np
import pytest

from esper_tolaria.datasets import generated
from esper_tolaria.datasets.generated import generate_once


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """The folder of caches, which is not there yet."""
    folder = tmp_path / "caches"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


class Generator:
    """Generates arrays, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self):
        self.calls += 1
        rng = np.random.default_rng(0)
        return {"signals": rng.normal(size=(7, 3)).astype(np.float32), "labels": np.arange(7)}


def load(generate, arguments=(7,), libraries=("numpy",)):
    return generate_once("signals", arguments, libraries, generate)


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_the_second_process_reads_what_the_first_has_generated(caches):
    generate = Generator()
    first = load(generate)
    (path,) = (caches / "esper" / "data").iterdir()
    assert path.name.startswith("signals-")
    second = load(generate)
    assert generate.calls == 1
    assert second is not first
    same(second, first)


@pytest.mark.parametrize("kept", [0, 20, 200, -30])
def test_a_truncated_file_is_generated_and_written_again(caches, kept):
    generate = Generator()
    first = load(generate)
    (path,) = (caches / "esper" / "data").iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    same(load(generate), first)
    assert generate.calls == 2
    same(load(generate), first)
    assert generate.calls == 2


def test_a_changed_byte_is_noticed(caches):
    generate = Generator()
    first = load(generate)
    (path,) = (caches / "esper" / "data").iterdir()
    whole = bytearray(path.read_bytes())
    place = whole.find(first["signals"].tobytes())
    whole[place + 5] ^= 1
    path.write_bytes(bytes(whole))
    same(load(generate), first)
    assert generate.calls == 2


def test_other_arguments_and_other_versions_are_other_data(caches, monkeypatch):
    generate = Generator()
    load(generate)
    load(generate, arguments=(8,))
    monkeypatch.setattr(generated, "version", lambda name: "0.0")
    load(generate)
    assert generate.calls == 3
    assert len(list((caches / "esper" / "data").iterdir())) == 3


def test_without_a_usable_cache_the_data_is_generated_each_time(caches):
    caches.write_text("a file, and no folder")
    generate = Generator()
    same(load(generate), load(generate))
    assert generate.calls == 2
