"""Devices, threads, and CUDA streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from esper_tolaria.errors import TolariaError


def default_device() -> str:
    """Returns ``cuda:0`` if CUDA is available, else ``cpu``."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def resolve_device(name: str | torch.device) -> torch.device:
    """Returns the device of a name.

    Raises:
        TolariaError: If the name is not a device, or this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TolariaError(f"'{name}' is no device; use cpu, cuda or cuda:<index>") from None
    if device.type not in ("cpu", "cuda"):
        raise TolariaError(f"hosts train on cpu or cuda, not on '{name}'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TolariaError(
            f"device '{name}' is not there; torch finds {torch.cuda.device_count()} CUDA devices, "
            "so use another or cpu"
        )
    return device if device.type == "cpu" else torch.device("cuda", device.index or 0)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Runs operators on one thread inside the context.

    Small hosts are slower with several threads. One thread also sums in the same order in every
    process, so hosts give the same numbers however they are distributed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StreamPool:
    """One CUDA stream per host; on other devices hosts run one after another."""

    def __init__(self, device: torch.device, count: int) -> None:
        self._device = device
        cuda = device.type == "cuda"
        self._streams = [torch.cuda.Stream(device) for _ in range(count)] if cuda else []

    def stream(self, index: int) -> AbstractContextManager[None]:
        """Returns the context in which a host's kernels are launched."""
        return torch.cuda.stream(self._streams[index]) if self._streams else nullcontext()

    def begin(self) -> None:
        """Makes the streams wait for the work of the current stream."""
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream(self._device))

    def share(self, *tensors: Tensor) -> None:
        """Makes tensors of the current stream available to every stream.

        Their memory is not reused before all streams have read them
        (``torch.Tensor.record_stream``).
        """
        self.begin()
        for stream in self._streams:
            for tensor in tensors:
                tensor.record_stream(stream)

    def finish(self) -> None:
        """Makes the current stream wait for the streams."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)
