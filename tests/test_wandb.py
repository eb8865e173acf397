"""A real run at the real wandb library, offline, read back with its own ``wandb leet inspect``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from esper_leyline.events import MemoryWarning, RatioExplosion, encode_event

from .wandb_helpers import (
    OFFLINE,
    events_of,
    history,
    of_type,
    parts_of,
    records,
    rows_of,
    run,
    summary,
)

pytestmark = pytest.mark.slow


def test_a_run_goes_where_the_flags_say_with_its_configuration_and_its_code(run_at_wandb):
    folder, output = run_at_wandb
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


def test_every_metric_of_the_log_arrives_over_rounds(run_at_wandb):
    folder, _ = run_at_wandb
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


def test_the_table_of_seeds_holds_each_step_of_their_lives(run_at_wandb):
    folder, _ = run_at_wandb
    (part,) = parts_of(folder)
    kinds = {"seed_germinated", "seed_fossilized", "seed_pruned"}
    events = [each for each in events_of(folder) if each.kind in kinds]
    assert events
    table = summary(part)["summary"]["seeds"]
    assert (table["nrows"], table["ncols"]) == (len(events), 10)
    rows = json.loads((part / "files" / table["path"]).read_text())["data"]
    assert [row[3] for row in rows] == [each.payload.slot for each in events]


def test_a_run_that_was_sent_before_sends_nothing_twice(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
    copy = shutil.copytree(folder, tmp_path / folder.name)
    where = ("--wandb-project", "growth", "--wandb-entity", "team")
    code, output, errors = run("esper-overwatch", "wandb", copy, *OFFLINE, *where, cwd=tmp_path)
    assert (code, errors) == (0, "")
    first, second = parts_of(copy)
    assert history(records(second)) == {}
    assert output.splitlines()[-1] == f"wandb: upload it: uv run wandb sync {first} {second}"


def test_anomalies_are_counted_and_alert_once_in_ten_minutes(run_at_wandb, tmp_path):
    folder, _ = run_at_wandb
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("wandb"))
    events = events_of(folder)
    last, lines = events[-1], (copy / "events.jsonl").read_text()
    odd = [(0.0, RatioExplosion(ratio=9.0, threshold=4.0))] * 3
    odd += [(30.0, MemoryWarning(device="memory", used_mb=9.0, total_mb=9.0))]
    odd += [(601.0, RatioExplosion(ratio=8.0, threshold=4.0))]
    for number, (seconds, payload) in enumerate(odd, start=1):
        changes = {"sequence": last.sequence + number, "wall_time": last.wall_time + seconds}
        event = replace(last, **changes, payload=payload, round=2)
        lines += encode_event(event).decode() + "\n"
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
