"""A worker process: it holds a shard of the hosts and answers requests over a pipe."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from esper_leyline import EsperError
from esper_tolaria.engine.local import LocalEnvironment
from esper_tolaria.engine.setup import HostSetup
from esper_tolaria.errors import TolariaError
from esper_tolaria.sharding.allocation import keep_freed_memory
from esper_tolaria.sharding.shared_data import SharedDataset, open_shared

LEFT_TO_THE_PARENT = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals that terminals and schedulers send to all processes, and only the parent acts on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a method of the shard; ``number`` comes back with the reply."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a call returned, or how it failed."""

    number: int
    result: Any = None
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInit:
    """What a shard is built from: the pickled setup, its device and the shared data."""

    setup: bytes
    device: str
    data: SharedDataset


def pickle_setup(setup: HostSetup) -> bytes:
    """Makes a setup ready to be sent.

    Raises:
        TolariaError: If the host factory cannot be imported by name.
    """
    try:
        return pickle.dumps(setup)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TolariaError(
            f"host factory {setup.host_factory!r} cannot be sent to worker processes ({error}); "
            "pass a function defined at the top level of a module, or use workers=1"
        ) from None


def serve(connection: Connection) -> None:
    """Answers requests until the pipe closes; signals that stop a run are left to the parent.

    A limit on CPU time (``ulimit -t``) counts for each process alone, so the parent is
    notified of it.
    """
    for number in LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    signal.signal(signal.SIGXCPU, lambda *_: os.kill(parent, signal.SIGXCPU))
    torch.set_num_threads(1)
    keep_freed_memory()
    shard = Shard()
    while True:
        try:
            request = connection.recv()
            connection.send(answer(shard, request))
        except (EOFError, ConnectionError):
            return


class Shard:
    """The hosts of one worker, built by the first request, which is ``open``."""

    def __init__(self) -> None:
        self._environment: LocalEnvironment | None = None

    def open(self, init: ShardInit) -> int:
        """Builds the environment; returns the parameters of a fresh host."""
        setup = pickle.loads(init.setup)  # noqa: S301 - sent by the parent process
        self._environment = LocalEnvironment(
            setup, open_shared(init.data), torch.device(init.device)
        )
        return self._environment.spec.host_parameters

    def call(self, request: Request) -> Any:
        """Calls what a request names."""
        if request.method == "open":
            return self.open(*request.arguments)
        assert self._environment is not None, "open comes first"
        return getattr(self._environment, request.method)(*request.arguments)


def answer(shard: Shard, request: Request) -> Reply:
    """Makes the call that a request asks for; an error of the call is a reply as well."""
    try:
        return Reply(number=request.number, result=shard.call(request))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        message = (
            str(error) if isinstance(error, EsperError) else f"{type(error).__name__}: {error}"
        )
        return Reply(number=request.number, error=message, traceback=traceback.format_exc())
