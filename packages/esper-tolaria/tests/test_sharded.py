from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_kasmina import build_host
from esper_leyline import FactoredAction, HostPlacement, Op
from esper_leyline.events import Phase
from esper_tolaria import ShardedEnvironment, TolariaError, build_environment, make_setup
from esper_tolaria.sharding.processes import ProcessTransport
from esper_tolaria.sharding.sharded import _describe, _split_hosts

WAIT = FactoredAction()


class Phases:
    """A telemetry that keeps the phases it was given."""

    def __init__(self):
        self.seen = []

    def emit(self, payload, **_):
        self.seen.append(payload.phase)


@pytest.fixture(scope="module")
def phases():
    return Phases()


@pytest.fixture(scope="module")
def sharded(task, make_config, phases):
    """Three hosts over two workers, shared by the tests because processes start slowly."""
    config = make_config(n_envs=3)
    environment = build_environment(task, config, build_host, "cpu", workers=2, telemetry=phases)
    yield environment
    environment.close()


def test_says_what_it_does_while_it_starts(sharded, phases, task, make_config):
    assert phases.seen == [Phase.STARTING_WORKERS, Phase.PREPARING_DATA, Phase.BUILDING]
    alone = Phases()
    build_environment(task, make_config(), build_host, "cpu", workers=1, telemetry=alone)
    assert alone.seen == [Phase.PREPARING_DATA, Phase.BUILDING]


def test_the_plan_is_one_line(sharded):
    assert isinstance(sharded, ShardedEnvironment)
    assert sharded.plan == (
        "2 worker processes, one thread each, 1 or 2 hosts per worker, computed together"
    )


def test_the_plan_counts_one_host_in_the_singular(task, make_config):
    setup = make_setup(task, make_config(n_envs=2), build_host)
    plan = _describe(setup, [torch.device("cpu")] * 2, stacked=False, in_processes=True)
    assert plan == "2 worker processes, one thread each, 1 host per worker"


def test_reports_equal_those_of_one_process_bit_for_bit(
    sharded, make_local, play, growth, random_script
):
    seeds, scripts = [31, 32, 33], [growth, random_script(3, 11), growth]
    local = make_local(n_envs=3)
    assert sharded.spec == local.spec
    assert play(sharded, seeds, scripts) == play(local, seeds, scripts)
    assert sharded.evaluate() == local.evaluate()


def test_fewer_hosts_than_workers_leave_workers_idle(sharded, make_local, play):
    script = [[WAIT, WAIT]]
    assert play(sharded, [5], script) == play(make_local(n_envs=3), [5], script)


def test_says_where_each_host_computes(sharded, make_local):
    sharded.reset([1, 2, 3])
    assert [(place.device, place.worker) for place in sharded.placements] == [
        ("cpu", 0),
        ("cpu", 1),
        ("cpu", 1),
    ]
    local = make_local(n_envs=3)
    local.reset([1, 2])
    assert local.placements == (HostPlacement(device="cpu"),) * 2


def test_an_error_in_a_worker_comes_back_with_its_traceback(sharded):
    sharded.reset([1, 2, 3])
    with pytest.raises(TolariaError, match="worker 2 of 2: an action names slot 8") as caught:
        sharded.step([WAIT, WAIT, FactoredAction(op=Op.PRUNE, slot=8)])
    assert "Traceback" in str(caught.value.__cause__)
    sharded._workers[0].send("juggle")
    with pytest.raises(TolariaError, match=r"worker 1 of 2: AttributeError: .*juggle") as caught:
        sharded._workers[0].receive()
    assert "Traceback" in str(caught.value.__cause__)


def test_replies_to_an_interrupted_call_are_discarded(sharded, make_local, play):
    sharded.reset([1, 2, 3])
    for worker in sharded._workers:
        worker.send("evaluate")
    scripts = [[WAIT]] * 3
    assert play(sharded, [1, 2, 3], scripts) == play(make_local(n_envs=3), [1, 2, 3], scripts)


def test_an_interrupt_while_a_worker_starts_is_not_lost(monkeypatch):
    start = ForkServerProcess.start

    def pressed_meanwhile(process):
        os.kill(os.getpid(), signal.SIGINT)
        start(process)

    monkeypatch.setattr(ForkServerProcess, "start", pressed_meanwhile)
    with pytest.raises(KeyboardInterrupt):
        ProcessTransport("worker 1")


@pytest.mark.slow
def test_a_worker_starts_with_signals_blocked():
    worker = ProcessTransport("worker 1")
    status = Path(f"/proc/{worker.pid}/status").read_text()
    blocked = int(re.search(r"^SigBlk:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    worker.close()
    worker.join()
    assert blocked >> (signal.SIGINT - 1) & 1


def test_workers_ignore_interrupts(sharded):
    sharded.reset([1, 2, 3])
    for pid in sharded.worker_pids:
        os.kill(pid, signal.SIGINT)
    assert [report.epoch for report in sharded.step([WAIT] * 3)] == [1, 1, 1]


def test_wrong_calls_are_refused_in_the_parent(sharded):
    with pytest.raises(TolariaError, match="4 random seeds; give 1 to 3"):
        sharded.reset([1, 2, 3, 4])
    sharded.reset([1, 2])
    with pytest.raises(TolariaError, match="1 actions for 2 hosts"):
        sharded.step([WAIT])


def test_a_killed_worker_raises_an_error():
    worker = ProcessTransport("worker 1 of 1")
    worker.send("evaluate")
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(TolariaError, match=r"worker 1 of 1 .* killed by signal 9.* are lost"):
        worker.receive()
    with pytest.raises(TolariaError, match=r"killed by signal 9"):
        worker.send("evaluate")
    worker.close()
    worker.join()


@pytest.mark.slow
def test_closing_stops_a_worker_that_is_still_starting():
    worker = ProcessTransport("worker 1 of 1")
    worker.close()
    worker.join()
    assert not worker._process.is_alive()


def test_a_factory_that_cannot_be_imported_is_refused_before_anything_starts(task, make_config):
    setup = make_setup(task, make_config(), lambda *args, **more: None)
    with pytest.raises(TolariaError, match=r"cannot be sent to worker processes .* workers=1"):
        ShardedEnvironment(setup, [torch.device("cpu")] * 2)


@given(hosts=st.integers(1, 64), workers=st.integers(1, 16))
def test_shards_cover_all_hosts_once_and_evenly(hosts, workers):
    shards = _split_hosts(hosts, workers)
    assert [index for shard in shards for index in range(hosts)[shard]] == list(range(hosts))
    sizes = [shard.stop - shard.start for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_no_more_workers_than_hosts(sharded, task, make_config):
    setup = replace(sharded._setup, config=make_config(n_envs=1))
    environment = build_environment(task, setup.config, build_host, "cpu", workers=8)
    assert environment.plan.startswith("in this process")
