"""The end of a worker process whose parent is interrupted while it waits."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from esper_tolaria.sharding.processes import ProcessTransport


def test_an_interrupt_during_the_wait_for_a_worker_kills_it() -> None:
    worker = ProcessTransport("worker")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        worker.join(60)
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
