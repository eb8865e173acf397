"""The end of a worker process whose parent is interrupted while it waits."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from esper_tolaria.sharding.processes import ProcessTransport


def test_an_interrupt_while_a_stopped_worker_is_awaited_kills_it() -> None:
    worker = ProcessTransport("worker")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        worker.join(60)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
