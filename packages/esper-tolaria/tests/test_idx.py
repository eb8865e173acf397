from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from esper_tolaria import TolariaError
from esper_tolaria.datasets.idx import read_idx


def written(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim))
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@given(array=arrays(np.uint8, array_shapes(max_dims=3, max_side=6)), packed=st.booleans())
def test_arrays_are_read_as_written(tmp_path_factory, array, packed):
    content = written(array)
    path = tmp_path_factory.mktemp("idx") / ("data.gz" if packed else "data")
    path.write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(read_idx(path), array)
    assert read_idx(path).shape == array.shape


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data", b"", "has no header of an IDX file"),
        ("data", b"<html>not here</html>", "has no header of an IDX file"),
        ("data", bytes((0, 0, 13, 1, 0, 0, 0, 1)), "has no header of an IDX file"),
        ("data", bytes((0, 0, 8, 3, 0, 0)), "ends within its header"),
        ("data", written(np.zeros((2, 3), np.uint8))[:-1], r"5 bytes of data for .*2.*3"),
        ("data.gz", gzip.compress(b"abc" * 100, mtime=0)[:-20], "cannot be read"),
        ("data.gz", b"plain", "cannot be read"),
    ],
)
def test_other_content_is_a_one_line_error(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TolariaError, match=says) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"'{path}' cannot be read")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_one_line_error(tmp_path):
    with pytest.raises(TolariaError, match="No such file"):
        read_idx(tmp_path / "none")
