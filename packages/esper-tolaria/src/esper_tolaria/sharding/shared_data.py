"""A data set that all shards of this machine map from files.

The shards share its pages, so the data is in memory once, and hundreds of megabytes need not be
copied through pipes. The writer of safetensors is not used, because it copies all tensors into
memory twice before it writes them.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

import torch
from torch import Tensor

from esper_tolaria.datasets.splits import Dataset, Split
from esper_tolaria.errors import TolariaError

_OPEN_FILES = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class MappedTensor:
    """A tensor in a file.

    Attributes:
        path: The file.
        shape: In the file. Images are [N, H, W, C] there.
        dtype: Of the numbers.
        images: Whether the tensor is images, [N, C, H, W] in memory.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    images: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDataset:
    """A data set in files: inputs and targets of each split; sent to shards in place of tensors.

    The files can be opened only inside the context of ``share_dataset``.
    """

    train: tuple[MappedTensor, MappedTensor]
    validation: tuple[MappedTensor, MappedTensor]
    test: tuple[MappedTensor, MappedTensor]
    rng_seed: int


@contextmanager
def share_dataset(data: Dataset) -> Iterator[SharedDataset]:
    """Writes a data set to files that exist inside the context; mapped tensors stay valid after it.

    Where the system has ``/proc``, the files have no names in any folder, so nothing is left
    behind if this process is killed.

    Raises:
        TolariaError: If there is no space.
    """
    with ExitStack() as files:
        try:
            train, validation, test = (
                (_write(split.inputs, files), _write(split.targets, files))
                for split in (data.train, data.validation, data.test)
            )
        except OSError as error:
            where = tempfile.tempdir or "the folder for temporary files"
            raise TolariaError(
                f"the data cannot be written for worker processes in {where} ({error.strerror}); "
                "free some space, name another folder with the environment variable TMPDIR, or use "
                "one process (--workers 1, or 'workers' in a config)"
            ) from None
        yield SharedDataset(train=train, validation=validation, test=test, rng_seed=data.rng_seed)


def open_shared(shared: SharedDataset) -> Dataset:
    """Maps a shared data set. Do not write to its tensors."""
    train, validation, test = (
        Split(_map(inputs), _map(targets))
        for inputs, targets in (shared.train, shared.validation, shared.test)
    )
    return Dataset(train=train, validation=validation, test=test, rng_seed=shared.rng_seed)


def _write(tensor: Tensor, files: ExitStack) -> MappedTensor:
    images = tensor.dim() == 4
    stored = (tensor.permute(0, 2, 3, 1) if images else tensor).contiguous()
    file, path = _temporary_file(files)
    rest = stored.reshape(-1).view(torch.uint8).numpy().data
    while rest:
        # The system's own call: NumPy's writer hides the reason of a failure.
        rest = rest[os.write(file.fileno(), rest) :]
    return MappedTensor(path, tuple(stored.shape), stored.dtype, images)


def _temporary_file(files: ExitStack) -> tuple[IO[bytes], Path]:
    if _OPEN_FILES.exists():
        unnamed = files.enter_context(TemporaryFile())  # noqa: SIM115 - closed by the stack
        return unnamed, Path(f"/proc/{os.getpid()}/fd/{unnamed.fileno()}")
    named = files.enter_context(NamedTemporaryFile(prefix="esper-data-"))  # noqa: SIM115
    return named.file, Path(named.name)


def _map(stored: MappedTensor) -> Tensor:
    size = math.prod(stored.shape)
    flat = torch.from_file(str(stored.path), shared=False, size=size, dtype=stored.dtype)
    tensor = flat.view(stored.shape)
    return tensor.permute(0, 3, 1, 2) if stored.images else tensor
