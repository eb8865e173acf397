"""What goes wrong with Weights & Biases, with real processes.

The reader is killed, the library hangs, no server answers, the trainer crashes and is resumed, the
run's directory is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal

import pytest

from .wandb_helpers import (
    OFFLINE,
    POLICY,
    SMALL,
    events_of,
    history,
    of_type,
    parts_of,
    reader_of,
    records,
    rounds_done,
    rows_of,
    run,
    start,
    summary,
    wait_for,
)

pytestmark = pytest.mark.slow


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
    names = " ".join(str(each) for each in parts_of(folder))
    assert f"uv run wandb sync {names}\n" in output


def test_code_and_system_are_left_out_on_request(crashed):
    folder, *_ = crashed
    for part in parts_of(folder):
        found = records(part)
        assert not of_type(found, "stats")
        assert "commit" not in json.dumps(of_type(found, "environment"))
        assert not (part / "files" / "diff.patch").exists()
        assert not any("machine/" in name for item in history(found).values() for name in item)


def test_training_reports_once_that_its_reader_was_killed(tmp_path):
    trainer = start(
        *("esper-train", "ppo", "--rounds", "2", *SMALL, *POLICY, "--wandb", *OFFLINE),
        cwd=tmp_path,
    )
    wait_for(lambda: reader_of(trainer), "there was no reader").kill()
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


def test_a_library_that_hangs_at_the_end_is_stopped_after_its_time_limit(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
    sending = start("python", "-c", HANGING, folder, cwd=tmp_path)
    place = sending.stdout.readline()
    pid = int(re.fullmatch(r"stopped (\d+)\n", sending.stdout.readline())[1])
    code = sending.wait(timeout=300)
    os.kill(pid, signal.SIGKILL)  # it holds the pipes open
    errors = sending.communicate(timeout=60)[1]
    assert place.startswith("wandb: offline, in ")
    assert code == 1
    (part,) = parts_of(tmp_path)
    upload = f"upload the rest: uv run wandb sync {part.relative_to(tmp_path)}\n"
    assert errors == f"error: wandb has not ended in 3 s; {upload}"


def test_a_server_that_does_not_answer_is_one_line(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
    unreachable = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    code, output, errors = run(
        *("esper-overwatch", "wandb", folder, "--out", tmp_path),
        cwd=tmp_path,
        WANDB_INIT_TIMEOUT="5",
        **unreachable,
    )
    assert (code, output) == (2, "")
    assert errors.startswith("error: wandb: ")
    assert errors.count("\n") == 1


def test_training_continues_without_a_server(tmp_path):
    unreachable = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    code, output, errors = run(
        *("esper-train", "ppo", "--rounds", "1", *SMALL, *POLICY, "--wandb"),
        cwd=tmp_path,
        WANDB_INIT_TIMEOUT="5",
        **unreachable,
    )
    assert code == 0
    assert output.count("not all of the run was sent") == 1
    assert errors.count("training continues") == 1
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        ({"WANDB_API_KEY": ""}, "to log in, or write files with --wandb-mode offline; training"),
        ({"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://unreachable.invalid"}, ""),
    ],
    ids=["without a key", "without a network"],
)
def test_online_mode_that_cannot_log_in_ends_in_one_line_and_training_continues(
    login, reason, tmp_path
):
    code, output, errors = run(
        *("esper-train", "ppo", "--rounds", "1", *SMALL, *POLICY),
        *("--wandb", "--wandb-mode", "online"),
        cwd=tmp_path,
        WANDB_INIT_TIMEOUT="5",
        **login,
    )
    assert code == 0, errors
    assert errors.startswith("warning: wandb: ")
    assert reason in errors
    assert errors.endswith("; training continues\n")
    assert errors.count("\n") == 1
    assert output.count("not all of the run was sent") == 1
    assert rounds_done(tmp_path / "runs") == 1


def test_a_run_that_is_removed_while_it_is_read_ends_with_one_line(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
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


def test_a_silent_run_of_an_unknown_machine_is_followed_until_ctrl_c(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
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
