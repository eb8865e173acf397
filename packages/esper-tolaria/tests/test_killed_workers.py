"""Workers that are killed: their episodes are replayed, and nothing of the numbers changes."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import FactoredAction
from esper_leyline.events import WorkerRestarted
from esper_tolaria import TolariaError, build_environment, make_setup
from esper_tolaria.sharding.processes import ProcessTransport
from esper_tolaria.sharding.replay import MOST_RESTARTS
from esper_tolaria.sharding.sharded import ShardedEnvironment

pytestmark = pytest.mark.slow

WAIT = FactoredAction()


class Restarts:
    """A telemetry that keeps the workers that were started again."""

    def __init__(self):
        self.seen = []

    def emit(self, payload, **_):
        if isinstance(payload, WorkerRestarted):
            self.seen.append(payload)


@pytest.fixture
def restarts():
    return Restarts()


@pytest.fixture
def sharded(task, make_config, restarts):
    config = make_config(n_envs=3)
    environment = build_environment(task, config, build_host, "cpu", workers=2, telemetry=restarts)
    yield environment
    environment.close()


def kill(sharded, worker):
    os.kill(sharded.worker_pids[worker], signal.SIGKILL)


def kill_soon(sharded, worker):
    """Kills a worker while it has a request that it does not answer."""
    os.kill(sharded.worker_pids[worker], signal.SIGSTOP)
    threading.Timer(0.1, kill, (sharded, worker)).start()


def untimed(reports):
    return [replace(report, seconds={}) for report in reports]


def test_a_killed_worker_is_started_again_and_changes_no_number(
    sharded, restarts, make_local, growth
):
    """Killed between steps, while it computes, and before the hosts are tested."""
    local = make_local(n_envs=3)
    seeds = [31, 32, 33]
    assert untimed(sharded.reset(seeds)) == untimed(local.reset(seeds))
    for step, action in enumerate(growth):
        if step == 2:
            kill(sharded, 1)
        if step == 4:
            kill_soon(sharded, 0)
        assert untimed(sharded.step([action] * 3)) == untimed(local.step([action] * 3))
    kill(sharded, 0)
    assert sharded.evaluate() == local.evaluate()
    assert [each.worker for each in restarts.seen] == [1, 0, 0]
    assert restarts.seen[0].environments == (1, 2)
    assert restarts.seen[0].replayed_epochs == 2 * 2
    assert restarts.seen[0].reason == "was killed by signal 9"
    # A new round begins on the workers that were started again.
    kill(sharded, 1)
    assert untimed(sharded.reset(seeds)) == untimed(local.reset(seeds))
    assert untimed(sharded.step([WAIT] * 3)) == untimed(local.step([WAIT] * 3))


def test_a_worker_killed_in_any_call_changes_no_number(sharded, restarts, make_local, monkeypatch):
    """While it builds its hosts, replays their episodes, and tests them."""
    local, seeds = make_local(n_envs=3), [31, 32, 33]
    kill_soon(sharded, 0)
    assert untimed(sharded.reset(seeds)) == untimed(local.reset(seeds))
    open_shard, killed = sharded._workers[1]._open_shard, []

    def open_and_kill_once(transport):
        open_shard(transport)
        if not killed:
            killed.append(transport.pid)
            os.kill(transport.pid, signal.SIGKILL)

    monkeypatch.setattr(sharded._workers[1], "_open_shard", open_and_kill_once)
    kill(sharded, 1)
    assert untimed(sharded.step([WAIT] * 3)) == untimed(local.step([WAIT] * 3))
    kill_soon(sharded, 0)
    assert sharded.evaluate() == local.evaluate()
    assert len(killed) == 1
    assert [each.worker for each in restarts.seen] == [0, 1, 0]


def test_a_worker_killed_before_it_has_its_hosts_ends_the_start_in_one_line(task, make_config):
    started = []

    class Killed(ProcessTransport):
        def __init__(self, name):
            super().__init__(name)
            started.append(self._process)
            if len(started) == 1:
                os.kill(self.pid, signal.SIGKILL)

    setup = make_setup(task, make_config(n_envs=3), build_host)
    with pytest.raises(TolariaError) as error:
        ShardedEnvironment(setup, [torch.device("cpu")] * 2, Killed)
    assert "worker 1 of 2" in str(error.value)
    assert "was killed by signal 9" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(started) == 2
    assert not any(process.is_alive() for process in started)


def test_a_worker_that_dies_again_and_again_ends_with_an_error(sharded, monkeypatch):
    sharded.reset([1, 2, 3])
    started = []

    def dead_on_arrival(name):
        transport = ProcessTransport(name)
        started.append(transport)
        os.kill(transport.pid, signal.SIGKILL)
        return transport

    monkeypatch.setattr(sharded._workers[1], "_start", dead_on_arrival)
    kill(sharded, 1)
    with pytest.raises(TolariaError) as error:
        sharded.step([WAIT] * 3)
    assert len(started) == MOST_RESTARTS
    assert f"started again {MOST_RESTARTS} times without getting further" in str(error.value)
    assert "--workers" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_interrupt_while_a_worker_is_replayed_loses_nothing(sharded, make_local, monkeypatch):
    local = make_local(n_envs=3)
    assert untimed(sharded.reset([1, 2, 3])) == untimed(local.reset([1, 2, 3]))
    worker = sharded._workers[1]
    open_shard = worker._open_shard

    def interrupted(transport):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "_open_shard", interrupted)
    kill(sharded, 1)
    with pytest.raises(KeyboardInterrupt):
        sharded.step([WAIT] * 3)
    monkeypatch.setattr(worker, "_open_shard", open_shard)
    assert untimed(sharded.reset([4, 5, 6])) == untimed(local.reset([4, 5, 6]))
    assert untimed(sharded.step([WAIT] * 3)) == untimed(local.step([WAIT] * 3))
