"""Real runs at the real wandb library, offline, read back with its own ``wandb leet inspect``.

Also what goes wrong: the reader is killed, the library hangs, no server answers, the trainer
crashes and is resumed, the run's directory is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from esper_karn import EventReader
from esper_karn.weights_and_biases.rows import RowBuilder
from esper_leyline.events import MemoryWarning, RatioExplosion

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
SMALL = (
    *("--task", "mnist1d_blind", "--max-batches", "2", "--set", "n_envs=2"),
    *("--episode-length", "8", "--device", "cpu", "--no-tui"),
)
POLICY = ("--memory-size", "16", "--workers", "1")
OFFLINE = ("--wandb-mode", "offline")


def start(program, *arguments, cwd, **environment):
    return subprocess.Popen(
        [PROGRAMS / program, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"HOME": str(cwd), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(program, *arguments, cwd, **environment):
    """Runs a program; returns its exit code, standard output and standard error."""
    process = start(program, *arguments, cwd=cwd, **environment)
    output, errors = process.communicate(timeout=900)
    return process.returncode, output, errors


def parts_of(folder):
    """Finds the folders that the library wrote in a folder, in the order of their start."""
    return sorted((folder / "wandb").glob("offline-run-*"))


def records(folder):
    code, output, errors = run("wandb", "leet", "inspect", "--json", folder, cwd=folder)
    assert code == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def of_type(found, kind):
    return [each[kind] for each in found if each["type"] == kind]


def summary(folder):
    _, output, _ = run("wandb", "leet", "inspect", "--summary", "--json", folder, cwd=folder)
    return json.loads(output)


def events_of(run_folder):
    with EventReader(run_folder / "events.jsonl") as reader:
        return list(reader.read())


def rows_of(events, without=frozenset()):
    """The rows that a log makes, by step."""
    builder = RowBuilder(without)
    rows = [*(builder.add(event) for event in events), builder.finish()]
    return {row.sequence: row.values for row in rows if row is not None}


def history(found):
    return {item["_step"]: item for item in (each["item"] for each in of_type(found, "history"))}


def wait_for(condition, what, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def rounds_done(runs):
    logs = list(runs.glob("*/events.jsonl"))
    return logs[0].read_text().count('"round_completed"') if logs else 0


def reader_of(process):
    """Finds the process that sends the run of a trainer."""
    found = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "esper_train.wandb_reader" in " ".join(child.cmdline())
    ]
    return found[0] if found else None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a run that was sent while it trained, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run([*git, "init", "-q", "."], cwd=folder, check=True)
    (folder / "model.py").write_text("width = 1\n")
    subprocess.run([*git, "add", "model.py"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "x"], cwd=folder, check=True)
    (folder / "model.py").write_text("width = 2\n")
    code, output, errors = run(
        *("esper-train", "ppo", "--rounds", "2", *SMALL, *POLICY, "--wandb", *OFFLINE),
        *("--wandb-project", "growth", "--wandb-entity", "team", "--wandb-tags", "a", "b c"),
        *("--wandb-group", "study", "--wandb-name", "first"),
        cwd=folder,
    )
    assert code == 0, errors
    (found,) = (folder / "runs").iterdir()
    return found, output


def test_a_run_goes_where_the_flags_say_with_its_configuration_and_its_code(trained):
    folder, output = trained
    (part,) = parts_of(folder)
    assert f"wandb: upload it: uv run wandb sync {part.relative_to(folder.parents[1])}" in output
    found = records(part)
    (made,) = of_type(found, "run")
    assert (made["project"], made["entity"]) == ("growth", "team")
    assert (made["run_group"], made["display_name"]) == ("study", "first")
    assert (made["tags"], made["run_id"]) == (["a", "b c"], folder.name)
    config = summary(part)["config"]
    wanted = json.loads((folder / "config.json").read_text())
    assert config["ppo"] == wanted["ppo"]
    assert (config["command"], config["host_parameters"]) == ("ppo", 794)
    assert "torch" in config["versions"]
    assert any("commit" in json.dumps(each) for each in of_type(found, "environment"))
    assert "width = 2" in (part / "files" / "diff.patch").read_text()
    assert of_type(found, "exit")[-1]["exit_code"] == 0


def test_every_metric_of_the_log_arrives_over_rounds(trained):
    folder, _ = trained
    (part,) = parts_of(folder)
    found = records(part)
    metrics = of_type(found, "metric")
    assert {"name": "round", "options": {"defined": True}} in metrics
    assert [each["step_metric"] for each in metrics if each.get("glob_name") == "*"] == ["round"]
    sent, wanted = history(found), rows_of(events_of(folder))
    assert sent.keys() == wanted.keys()
    for step, values in wanted.items():
        for name, value in values.items():
            assert sent[step][name] == pytest.approx(value, nan_ok=True), name
    names = {name for values in sent.values() for name in values}
    assert {"ppo/kl", "ppo/clip_fraction", "ppo/entropy", "ppo/explained_variance"} <= names
    assert {"train_loss/host_0", "val_accuracy/mean", "test_accuracy/mean"} <= names
    assert {"seeds/germinated", "reward/terminal", "episodes/return"} <= names
    assert {"machine/cpu_percent", "speed/host_epochs_per_second"} <= names
    assert of_type(found, "stats")


def test_the_table_of_seeds_holds_each_step_of_their_lives(trained):
    folder, _ = trained
    (part,) = parts_of(folder)
    kinds = {"seed_germinated", "seed_fossilized", "seed_pruned"}
    events = [each for each in events_of(folder) if each.kind in kinds]
    assert events
    table = summary(part)["summary"]["seeds"]
    assert (table["nrows"], table["ncols"]) == (len(events), 10)
    rows = json.loads((part / "files" / table["path"]).read_text())["data"]
    assert [row[3] for row in rows] == [each.payload.slot for each in events]


def test_a_run_that_was_sent_before_sends_nothing_twice(trained, tmp_path):
    folder, _ = trained
    copy = shutil.copytree(folder, tmp_path / folder.name)
    where = ("--wandb-project", "growth", "--wandb-entity", "team")
    code, output, errors = run("esper-overwatch", "wandb", copy, *OFFLINE, *where, cwd=tmp_path)
    assert (code, errors) == (0, "")
    first, second = parts_of(copy)
    assert history(records(second)) == {}
    assert output.splitlines()[-1] == f"wandb: upload it: uv run wandb sync {first} {second}"


def test_anomalies_are_counted_and_alert_once_in_ten_minutes(trained, tmp_path):
    folder, _ = trained
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("wandb"))
    events = events_of(folder)
    last, lines = events[-1], (copy / "events.jsonl").read_text()
    odd = [(0.0, RatioExplosion(ratio=9.0, threshold=4.0))] * 3
    odd += [(30.0, MemoryWarning(device="memory", used_mb=9.0, total_mb=9.0))]
    odd += [(601.0, RatioExplosion(ratio=8.0, threshold=4.0))]
    for number, (seconds, payload) in enumerate(odd, start=1):
        changes = {"sequence": last.sequence + number, "wall_time": last.wall_time + seconds}
        event = last.model_copy(update=changes | {"payload": payload, "round": 2})
        lines += event.model_dump_json() + "\n"
    (copy / "events.jsonl").write_text(lines)
    before = {each.kind for each in events} & {"ratio_explosion", "memory_warning"}
    assert not before
    code, _, errors = run("esper-overwatch", "wandb", copy, *OFFLINE, cwd=tmp_path)
    assert (code, errors) == (0, "")
    (part,) = parts_of(copy)
    alerts = of_type(records(part), "alert")
    assert [(each["title"], each["text"]) for each in alerts] == [
        ("ratio explosion", "round 2: ratio 9 above 4"),
        ("memory warning", "round 2: 9 of 9 MB used on memory"),
        ("ratio explosion", "round 2: ratio 8 above 4 (2 more since the last alert)"),
    ]
    assert {each["level"] for each in alerts} == {"WARN"}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A run whose reader was killed, then its trainer, and which was sent and resumed after."""
    folder = tmp_path_factory.mktemp("crashed")
    runs = folder / "runs"
    flags = ("--wandb", *OFFLINE, "--wandb-no-code", "--wandb-no-system")
    trainer = start("esper-train", "ppo", "--rounds", "3", *SMALL, *POLICY, *flags, cwd=folder)
    wait_for(lambda: rounds_done(runs) >= 1 and reader_of(trainer), "no round was finished")
    reader_of(trainer).kill()
    wait_for(lambda: rounds_done(runs) >= 2, "training did not continue without its reader")
    trainer.kill()
    trainer.communicate(timeout=60)
    (found,) = runs.iterdir()
    code, output, errors = run(
        *("esper-overwatch", "wandb", found, *OFFLINE, "--wandb-no-code", "--wandb-no-system"),
        cwd=folder,
    )
    assert (code, errors) == (0, "")
    sent = len(events_of(found))
    again = run("esper-train", "ppo", "--resume", found, "--no-tui", *flags, cwd=folder)
    assert again[0] == 0, again[2]
    return found, output, sent, again[1]


def test_a_crashed_run_is_sent_marked_and_the_command_ends(crashed):
    folder, output, _, _ = crashed
    assert "the run crashed; what its log holds was sent" in output
    _, second, _ = parts_of(folder)
    found = records(second)
    assert of_type(found, "exit")[-1]["exit_code"] == 1
    assert summary(second)["summary"]["status"] == "crashed"
    titles = [
        each["title"] for part in parts_of(folder) for each in of_type(records(part), "alert")
    ]
    assert titles.count("run crashed") == 1


def test_a_resumed_run_drops_nothing(crashed):
    folder, _, sent, output = crashed
    parts = [records(part) for part in parts_of(folder)]
    killed, *ended = [list(history(part)) for part in parts]
    events = events_of(folder)
    assert {each.boot for each in events} == {0, 1}
    without = frozenset({"vitals"})
    wanted = set(rows_of(events, without)) | set(rows_of(events[:sent], without))
    # What a killed reader sent may not be on the disk, so it is sent again.
    assert set(killed) <= set(ended[0])
    steps = [step for part in ended for step in part]
    assert wanted <= set(steps)
    assert len(steps) == len(set(steps))
    last = history(parts[-1])
    assert max(item["round"] for item in last.values()) == 3
    assert {item["boot"] for item in last.values()} == {1}
    names = " ".join(str(each.relative_to(folder.parents[1])) for each in parts_of(folder))
    assert f"uv run wandb sync {names}" in output


def test_code_and_system_are_left_out_on_request(crashed):
    folder, *_ = crashed
    for part in parts_of(folder):
        found = records(part)
        assert not of_type(found, "stats")
        assert "commit" not in json.dumps(of_type(found, "environment"))
        assert not (part / "files" / "diff.patch").exists()
        assert not any("machine/" in name for item in history(found).values() for name in item)


def test_training_says_once_that_its_reader_was_killed(tmp_path):
    trainer = start(
        *("esper-train", "ppo", "--rounds", "2", *SMALL, *POLICY, "--wandb", *OFFLINE),
        cwd=tmp_path,
    )
    wait_for(lambda: reader_of(trainer), "there was no reader")
    reader_of(trainer).kill()
    output, errors = trainer.communicate(timeout=900)
    assert trainer.returncode == 0, errors
    (line,) = [each for each in output.splitlines() if "not all of the run was sent" in each]
    assert "send the rest: uv run esper-overwatch wandb " in line
    assert "Traceback" not in output + errors
    assert rounds_done(tmp_path / "runs") == 2


HANGING = """
import signal, sys
import psutil
from esper_karn.weights_and_biases import client, export, exporter
from esper_overwatch.cli import main
for module in (client, export, exporter):
    module.FINISH_SECONDS = 2.0
export.GRACE_SECONDS = 1.0
finish = exporter.Exporter.finish
def finish_after_a_stop(self, **flags):
    for child in psutil.Process().children(recursive=True):
        child.send_signal(signal.SIGSTOP)
        print("stopped", child.pid, flush=True)
    return finish(self, **flags)
exporter.Exporter.finish = finish_after_a_stop
sys.exit(main(["wandb", sys.argv[1], "--wandb-mode", "offline", "--out", "."]))
"""


def test_a_library_that_hangs_at_the_end_is_given_up(trained, tmp_path):
    folder, _ = trained
    code, output, errors = run("python", "-c", HANGING, folder, cwd=tmp_path)
    for pid in re.findall(r"stopped (\d+)", output):
        os.kill(int(pid), signal.SIGKILL)
    assert code == 1
    assert "stopped" in output
    (part,) = parts_of(tmp_path)
    upload = f"upload the rest: uv run wandb sync {part.relative_to(tmp_path)}\n"
    assert errors == f"error: wandb has not ended in 3 s; {upload}"


def test_a_server_that_does_not_answer_is_one_line(trained, tmp_path):
    folder, _ = trained
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    code, output, errors = run(
        *("esper-overwatch", "wandb", folder, "--out", tmp_path),
        cwd=tmp_path,
        WANDB_INIT_TIMEOUT="5",
        **nobody,
    )
    assert (code, output) == (2, "")
    assert errors.startswith("error: wandb: ")
    assert errors.count("\n") == 1


def test_training_continues_without_a_server(tmp_path):
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    code, output, errors = run(
        *("esper-train", "ppo", "--rounds", "1", *SMALL, *POLICY, "--wandb"),
        cwd=tmp_path,
        WANDB_INIT_TIMEOUT="5",
        **nobody,
    )
    assert code == 0
    assert output.count("not all of the run was sent") == 1
    assert errors.count("training continues") == 1
    assert "Traceback" not in output + errors


def test_a_run_that_is_removed_while_it_is_read_ends_with_one_line(trained, tmp_path):
    folder, _ = trained
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("wandb"))
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join(lines[:-1]))
    with (copy / "run.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sending = start("esper-overwatch", "wandb", copy, *OFFLINE, "--out", tmp_path, cwd=tmp_path)
        line = sending.stdout.readline()
        assert line.startswith("wandb: offline, in ")
        shutil.rmtree(copy)
        output, errors = sending.communicate(timeout=120)
    assert sending.returncode == 2
    assert errors == (
        f"error: event log '{copy / 'events.jsonl'}' was removed while it was read; what was read "
        "before was sent\n"
    )
    assert "upload it: uv run wandb sync" in output


def test_a_silent_run_of_an_unknown_machine_is_followed_until_ctrl_c(trained, tmp_path):
    folder, _ = trained
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("wandb", "run.lock"))
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join(lines[:-1]))
    sending = start("esper-overwatch", "wandb", copy, *OFFLINE, cwd=tmp_path)
    first, second = sending.stdout.readline(), sending.stdout.readline()
    assert first.startswith("wandb: offline, in ")
    assert second.startswith(
        "wandb: no event for 20 s, and whether the process that trains is alive"
    )
    sending.send_signal(signal.SIGINT)
    output, errors = sending.communicate(timeout=120)
    assert (sending.returncode, errors) == (0, "")
    assert "the run has not ended; send the rest later: esper-overwatch wandb " in output
