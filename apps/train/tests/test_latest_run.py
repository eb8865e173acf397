"""``--resume latest`` takes the run whose trainer started last, whatever the clock says."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esper_leyline import TrainingConfig
from esper_nissa import RunDirectory
from esper_train.checkpoints.latest import latest_run
from esper_train.errors import TrainError

Begin = Callable[..., RunDirectory]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the clock of this process by a difference to the real one."""

    def set_clock(difference: timedelta) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + difference

        seconds = datetime.now(UTC).timestamp()
        monkeypatch.setattr("esper_nissa.run_directory.datetime", Clock)
        monkeypatch.setattr(
            "esper_leyline.run_lock.time.time", lambda: seconds + difference.total_seconds()
        )

    return set_clock


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Begins a run as a trainer does, and ends it."""

    def run(command: str = "ppo") -> RunDirectory:
        directory = RunDirectory.create(tmp_path, "digits")
        directory.write_config(TrainingConfig())
        directory.lock(command).release()
        return directory

    return run


def change_owner(run: RunDirectory, **values: object) -> None:
    """Changes what the lock file says of the process that trained a run."""
    path = run.path / "run.lock"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_run_that_began_last_is_the_latest_although_the_clock_was_set_back(
    begin: Begin, clock, tmp_path: Path
) -> None:
    first = begin()
    clock(-timedelta(days=1))
    second = begin()
    assert second.path.name < first.path.name
    assert latest_run(tmp_path) == second


def test_a_run_that_was_resumed_since_is_the_latest(begin: Begin, tmp_path: Path) -> None:
    first, second = begin(), begin()
    assert latest_run(tmp_path) == second
    first.lock("ppo").release()
    assert latest_run(tmp_path) == first


def test_runs_of_other_commands_are_left_out(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    begin("heuristic")
    assert latest_run(tmp_path) == first


def test_a_run_of_this_machine_is_later_than_those_before_its_start(
    begin: Begin, tmp_path: Path
) -> None:
    first, second = begin(), begin()
    change_owner(second, machine="before", uptime=1e9, started=4e9)
    assert latest_run(tmp_path) == first


def test_runs_of_two_machines_are_ordered_by_the_clock(begin: Begin, tmp_path: Path) -> None:
    first, second = begin(), begin()
    change_owner(second, machine="other", host=platform.node() + "-2", uptime=1.0, started=4e9)
    assert latest_run(tmp_path) == second
    change_owner(second, started=1.0)
    assert latest_run(tmp_path) == first


def test_a_run_that_does_not_say_when_it_began_is_the_earliest(
    begin: Begin, tmp_path: Path
) -> None:
    first, second = begin(), begin()
    change_owner(second, machine="other", host="other", started=None, uptime=None)
    assert latest_run(tmp_path) == first


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="no run of esper-train ppo in"):
        latest_run(tmp_path)
