"""Devices: which one, with how many threads, and one stream a host on CUDA."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from esper_tolaria.errors import TolariaError


def default_device() -> str:
    """Returns the first CUDA device where there is one, else the CPU."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def resolve_device(name: str | torch.device) -> torch.device:
    """Returns a device that is there.

    Raises:
        TolariaError: If the name means no device, or one that this machine lacks.
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
    """Gives torch's operators one thread each for a while.

    Hosts this small lose by sharing an operator out, and sums over one thread are the
    same in every process, so all plans give the same numbers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Lanes:
    """Where each host's work is queued: a stream of its own on CUDA, in order elsewhere."""

    def __init__(self, device: torch.device, count: int) -> None:
        self._device = device
        cuda = device.type == "cuda"
        self._streams = [torch.cuda.Stream(device) for _ in range(count)] if cuda else []

    def lane(self, index: int) -> AbstractContextManager[None]:
        """Returns the context in which a host's work is queued."""
        return torch.cuda.stream(self._streams[index]) if self._streams else nullcontext()

    def fork(self) -> None:
        """Lets the lanes wait for what was queued before."""
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream(self._device))

    def share(self, *tensors: Tensor) -> None:
        """Lets every lane read tensors that were queued outside of them just now.

        Their memory is not given to others before all lanes are done with them.
        """
        self.fork()
        for stream in self._streams:
            for tensor in tensors:
                tensor.record_stream(stream)

    def join(self) -> None:
        """Lets what comes after wait for the lanes."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)
