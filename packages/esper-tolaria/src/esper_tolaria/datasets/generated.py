"""Arrays of data sets that take seconds to generate, kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esper_leyline import LeylineError
from esper_leyline.files.atomic import write_atomically
from esper_leyline.files.caches import user_cache

Arrays = Mapping[str, NDArray[np.generic]]


def generate_once(
    name: str,
    arguments: tuple[object, ...],
    libraries: tuple[str, ...],
    generate: Callable[[], Arrays],
) -> Arrays:
    """Returns generated arrays, from the user's cache if they are there.

    Args:
        name: The data set.
        arguments: What the arrays depend on.
        libraries: Distributions that generate them: another version generates them again.
        generate: Generates them. A cache that cannot be read or written is left alone.
    """
    versions = tuple((each, version(each)) for each in libraries)
    key = hashlib.sha256(repr((arguments, versions)).encode()).hexdigest()[:24]
    try:
        path = user_cache("data") / f"{name}-{key}.npz"
    except LeylineError:
        return generate()
    found = _read(path)
    if found is None:
        found = generate()
        _write(path, found)
    return found


def _read(path: Path) -> Arrays | None:
    """Returns the arrays of a file; ``None`` if it is not there or damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
