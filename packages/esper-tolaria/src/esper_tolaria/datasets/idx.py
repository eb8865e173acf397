"""IDX, the file format of MNIST: a header of big-endian integers, then bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esper_tolaria.datasets.failures import damaged_file

_UNSIGNED_BYTES = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an array of unsigned bytes; a file whose name ends in ``.gz`` is decompressed.

    Raises:
        TolariaError: If the file has another format.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged_file(path, str(error)) from None
    if len(content) < 4 or content[:3] != bytes((0, 0, _UNSIGNED_BYTES)):
        raise damaged_file(path, "it has no header of an IDX file of bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise damaged_file(path, "it ends within its header")
    shape = np.frombuffer(content[4:start], dtype=">u4").astype(np.int64)
    if len(content) - start != shape.prod():
        raise damaged_file(path, f"{len(content) - start} bytes of data for {tuple(shape)}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
