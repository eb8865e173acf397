"""Shards behind one interface, and the devices that they are put on."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import FactoredAction, Op
from esper_tolaria import (
    LocalEnvironment,
    ShardedEnvironment,
    TolariaError,
    build_environment,
    make_setup,
)
from esper_tolaria.sharding.transports import LocalTransport

CPU = torch.device("cpu")
WAIT = FactoredAction()


@pytest.fixture
def near(task, make_config):
    """Three hosts over two shards in this process."""
    setup = make_setup(task, make_config(n_envs=3), build_host)
    environment = ShardedEnvironment(setup, [CPU] * 2, LocalTransport)
    yield environment
    environment.close()


def test_shards_in_this_process_give_the_same_reports(
    near, make_local, play, growth, random_script
):
    seeds, scripts = [31, 32, 33], [growth, random_script(3, 11), growth]
    assert near.plan.startswith("2 shards in this process, one thread each, 1 or 2 hosts")
    assert near.worker_pids == (None, None)
    assert play(near, seeds, scripts) == play(make_local(n_envs=3), seeds, scripts)


def test_an_error_is_raised_as_from_a_process(near):
    near.reset([1, 2, 3])
    with pytest.raises(TolariaError, match="worker 2 of 2: an action names slot 8") as caught:
        near.step([WAIT, WAIT, FactoredAction(op=Op.PRUNE, slot=8)])
    assert "Traceback" in str(caught.value.__cause__)


@pytest.mark.slow
def test_each_device_gets_a_shard(task, make_config, play, growth):
    config = make_config(n_envs=2, devices=["cpu", "cpu"])
    spread = build_environment(task, config, build_host)
    alone = build_environment(task, config, build_host, "cpu", workers=1)
    assert isinstance(spread, ShardedEnvironment)
    assert len(spread.worker_pids) == 2
    assert isinstance(alone, LocalEnvironment)
    assert play(spread, [1, 2], [growth] * 2) == play(alone, [1, 2], [growth] * 2)
    spread.close()


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["cpu", "mars"], "'mars' is no device"),
        (["cpu", "cuda:97"], "'cuda:97' is not there"),
    ],
)
def test_missing_devices_are_an_error(task, make_config, devices, message):
    with pytest.raises(TolariaError, match=message):
        build_environment(task, make_config(devices=devices), build_host)


def test_several_devices_exclude_workers(task, make_config):
    config = make_config(devices=["cpu", "cpu"])
    with pytest.raises(TolariaError, match="workers is 3, and each of 2 devices takes one"):
        build_environment(task, config, build_host, workers=3)


def test_devices_of_two_kinds_or_listed_twice_are_an_error():
    from esper_tolaria.build import _check_kinds

    with pytest.raises(TolariaError, match="several kinds"):
        _check_kinds([CPU, torch.device("cuda:0")])
    with pytest.raises(TolariaError, match="cuda:1 is named twice"):
        _check_kinds([torch.device("cuda:1")] * 2)


FORGETFUL = """
from esper_kasmina import build_host
from esper_tolaria import build_environment, find_preset, find_task

if __name__ == "__main__":
    environment = build_environment(
        find_task("mnist1d_blind").spec, find_preset("mnist1d_blind"), build_host, "cpu", workers=2
    )
    environment.reset([1, 2])
    raise SystemExit("forgot to close")
"""


@pytest.mark.slow
def test_a_script_that_does_not_close_its_environment_exits(tmp_path):
    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, time.monotonic() - started
    assert done.stderr == "forgot to close\n"
