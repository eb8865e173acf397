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
from esper_tolaria.engine.setup import HostFacts, HostSetup
from esper_tolaria.errors import TolariaError
from esper_tolaria.sharding.fork_server import PARENT_SIGNALS
from esper_tolaria.sharding.shared_data import SharedDataset, open_shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a method of the shard; the reply has the same ``number``."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The result of a call, or its error."""

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
    """Pickles a setup for worker processes.

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


def serve(connection: Connection, parent: int) -> None:
    """Answers requests until the pipe closes; ignores the signals that the parent handles.

    A limit on CPU time (``ulimit -t``) counts per process, so SIGXCPU is forwarded to the parent.

    Args:
        connection: The pipe.
        parent: The id of the process that sends requests; the worker is forked from another one.
    """
    for number in PARENT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGXCPU, lambda *_: os.kill(parent, signal.SIGXCPU))
    torch.set_num_threads(1)
    shard = Shard()
    while True:
        try:
            request = connection.recv()
            connection.send(handle(shard, request))
        except (EOFError, ConnectionError):
            return


class Shard:
    """The hosts of one worker; the first request, ``open``, builds them."""

    def __init__(self) -> None:
        self._environment: LocalEnvironment | None = None

    def open(self, init: ShardInit) -> HostFacts:
        """Builds the environment; returns the facts of a fresh host."""
        setup = pickle.loads(init.setup)  # noqa: S301 - sent by the parent process
        self._environment = LocalEnvironment(
            setup, open_shared(init.data), torch.device(init.device)
        )
        return self._environment.host_facts

    def call(self, request: Request) -> Any:
        """Calls the method of a request."""
        if request.method == "open":
            return self.open(*request.arguments)
        assert self._environment is not None, "open comes first"
        return getattr(self._environment, request.method)(*request.arguments)


def handle(shard: Shard, request: Request) -> Reply:
    """Makes the call of a request; returns its result or its error as a reply."""
    try:
        return Reply(number=request.number, result=shard.call(request))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        message = (
            str(error) if isinstance(error, EsperError) else f"{type(error).__name__}: {error}"
        )
        return Reply(number=request.number, error=message, traceback=traceback.format_exc())
