"""No command prints a control character of a name, a flag, a lock file or a log as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_leyline import TrainingConfig
from esper_leyline.events import (
    PAYLOADS,
    EnvironmentBuilt,
    Phase,
    RunFailed,
    RunPhase,
    RunStarted,
    WorkerRestarted,
)
from esper_leyline.run_lock import RunOwner, this_machine
from esper_nissa import Hub, JsonlSink, RunDirectory
from esper_overwatch import main as overwatch
from esper_overwatch.cli import app as overwatch_app
from esper_train import main as train
from esper_train.cli import app as train_app
from esper_train.errors import TrainError
from esper_train.interrupts import StopRequest
from esper_train.session import RunSession
from esper_train.settings.options import PPO_FLAGS, SourceOptions, TelemetryOptions
from esper_train.settings.resolve import plan_ppo

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202eb\nc"
"""Escape sequences, a bell, a carriage return, a change of the direction of text, a new line."""


def names(app) -> list[str]:
    return [name for name in app if not name.startswith("-")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with a crashed run and a failed one: every text in them is hostile."""
    folder = tmp_path_factory.mktemp("runs") / HOSTILE
    for name in ("crashed", "failed"):
        run = RunDirectory.create(folder, "mnist1d")
        run.write_config(TrainingConfig(task="mnist1d", data_root=HOSTILE))
        owner = RunOwner(
            command="ppo",
            pid=1,
            host=HOSTILE,
            machine=this_machine(),
            locked=True,
            group=HOSTILE,
            folder=HOSTILE,
        )
        (run.path / "run.lock").write_text(owner.model_dump_json())
        with Hub(HOSTILE, [JsonlSink(run.events)], frozenset(PAYLOADS)) as hub:
            config = TrainingConfig(task="mnist1d", data_root=HOSTILE)
            hub.emit(RunStarted(command=HOSTILE, config=config, versions={HOSTILE: HOSTILE}))
            hub.emit(RunPhase(phase=Phase.BUILDING, detail=HOSTILE))
            hub.emit(EnvironmentBuilt(slots=("r0c0",), host_parameters=1, plan=HOSTILE))
            hub.emit(
                WorkerRestarted(worker=0, environments=(0,), reason=HOSTILE, replayed_epochs=1)
            )
            if name == "failed":
                hub.emit(RunFailed(error=HOSTILE, rounds_completed=0, seconds=1.0))
        if name == "crashed":
            with run.events.open("a") as file:
                file.write(HOSTILE)
        run.path.rename(folder / f"{HOSTILE}-{name}")
    return folder


def check(captured) -> None:
    for text in (captured.out, captured.err):
        for line in text.split("\n"):
            assert line.isprintable(), line


@pytest.mark.parametrize("name", names(overwatch_app))
def test_no_command_of_esper_overwatch_prints_control_characters(
    name, runs, tmp_path, capfd, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    paths = [str(each) for each in (runs, *sorted(runs.iterdir()), tmp_path / HOSTILE)]
    calls = [[name], [name, *paths], [name, f"--{HOSTILE}", paths[0]]]
    if name != "wandb":  # it would follow the crashed run
        calls += [[name, each] for each in paths]
    else:
        calls += [[name, paths[-1]], [name, paths[-1], "--wandb-mode", HOSTILE]]
    if name == "web":  # it would serve
        calls = [[name, each, f"--port={HOSTILE}"] for each in paths] + calls[2:3]
    if name == "sql":
        for form in ("table", "csv", "json"):
            for view in ("runs", "anomalies", HOSTILE):
                calls.append([name, f"SELECT * FROM {view}", "--runs", paths[0], "--format", form])
    said = 0
    for arguments in calls:
        overwatch(arguments)
        captured = capfd.readouterr()
        check(captured)
        said += "\\x1b" in captured.out + captured.err
    assert said > 0


FLAGS = {
    "ppo": ["--resume", "--config-json", "--preset", "--task", "--set", "--rounds", "--dual-ab"],
    "config": ["--resume", "--config-json", "--preset", "--task", "--set", "--rounds"],
    "heuristic": ["--task", "--set", "--amp-dtype", "--device", "--max-epochs"],
    "evaluate": ["--arms", "--baseline", "--task", "--seeds", "--range", "--device"],
    "tasks": ["--device"],
}


@pytest.mark.parametrize("name", names(train_app))
def test_no_command_of_esper_train_prints_control_characters_of_a_flag(
    name, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    calls = [[name, HOSTILE], [name, f"--{HOSTILE}"], [name, "--set", f"data_root={HOSTILE}\0"]]
    calls += [[name, flag, HOSTILE] for flag in FLAGS[name]]
    calls += [[name, "--set", f"{HOSTILE}=1"], [name, "--set", f"task={HOSTILE}"]]
    for arguments in calls:
        code = train(arguments)
        captured = capfd.readouterr()
        check(captured)
        assert code == 2, arguments
        assert captured.err.count("\n") == 1


@pytest.mark.security
def test_a_run_in_a_hostile_folder_prints_no_control_characters(runs, tmp_path, capfd, monkeypatch):
    """What ``ppo`` says of its folders and errors; and ``--resume`` of the runs above."""
    monkeypatch.chdir(tmp_path)
    source = SourceOptions(preset="mnist1d_blind", set=[f"data_root={HOSTILE}"])
    plan = plan_ppo(PPO_FLAGS(device="cpu"), source)
    telemetry = TelemetryOptions(runs=Path(HOSTILE), no_tui=True)
    with RunSession("ppo", plan, telemetry, StopRequest()) as session:
        session.phase(Phase.BUILDING, HOSTILE)
        session.progress.notes.append(HOSTILE)
        raise TrainError(HOSTILE)
    captured = capfd.readouterr()
    check(captured)
    assert "\\x1b" in captured.out
    for run in runs.iterdir():  # their logs are of a run with another name
        assert train(["ppo", "--resume", str(run)]) == 2
        captured = capfd.readouterr()
        check(captured)
        assert "\\x1b" in captured.err
