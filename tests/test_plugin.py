"""A distribution outside this workspace adds a part of each kind, and a run uses all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .wheel_helpers import ROOT, run

pytestmark = pytest.mark.slow

PARTS = (
    *("--task", "waves", "--envs", "8"),
    *("--set", "reward.mode=accuracy_gain"),
    *("--set", 'telemetry.sinks=["kinds"]'),
)
EVALUATION = ("--task", "waves", "--seeds", "2", "--arms", "one_seed", "static")


def events(folder: Path) -> list[dict]:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def the_run(folder: Path) -> Path:
    (found,) = [each for each in folder.iterdir() if (each / "events.jsonl").is_file()]
    return found


@pytest.fixture(scope="module")
def programs(wheels, install, tmp_path_factory):
    """An environment with ``esper-train`` and the plugin, both installed from wheels."""
    folder = tmp_path_factory.mktemp("plugin")
    run("uv", "build", "--wheel", "-o", folder, ROOT / "tests" / "plugin")
    (plugin,) = folder.glob("*.whl")
    return install(wheels["esper-train"], plugin)


def test_a_run_uses_every_part_is_saved_and_resumed(programs, tmp_path):
    train = programs / "esper-train"
    run(train, "ppo", *PARTS, "--rounds", "1", "--runs", tmp_path / "first", cwd=tmp_path)
    first = the_run(tmp_path / "first")
    written = events(first)
    births = {
        e["payload"]["blueprint"] for e in written if e["payload"]["kind"] == "seed_germinated"
    }
    assert "dilated" in births
    decisions = [e["payload"] for e in written if e["payload"]["kind"] == "decision"]
    assert {name for each in decisions for name in each["reward"]["components"]} == {"gain"}
    counted = json.loads((first / "kinds.json").read_text(encoding="utf-8"))
    assert counted["decision"] == len(decisions)
    assert sum(counted.values()) == len(written)

    (saved,) = (first / "checkpoints").glob("*.safetensors")
    run(train, "ppo", "--resume", saved, "--rounds", "2", cwd=tmp_path)
    summary = json.loads((first / "summary.json").read_text(encoding="utf-8"))
    assert [each["round"] for each in summary["rounds"]] == [1, 2]

    printed = run(train, "evaluate", *EVALUATION, str(saved), cwd=tmp_path)
    assert "one_seed" in printed


def test_an_old_policy_learns_to_use_a_blueprint_that_a_plugin_adds(programs, tmp_path):
    train = programs / "esper-train"
    short = (
        "--task",
        "mnist1d_blind",
        "--episode-length",
        "5",
        "--envs",
        "2",
        "--runs",
        tmp_path / "old",
    )
    run(train, "ppo", *short, "--rounds", "1", cwd=tmp_path)
    (saved,) = (the_run(tmp_path / "old") / "checkpoints").glob("*.safetensors")
    more = ("--set", 'blueprints=["conv_light", "dilated"]')
    printed = run(train, "ppo", "--resume", saved, "--rounds", "2", *more, cwd=tmp_path)
    assert "blueprints" in printed
    # The same run continues without naming the blueprints again.
    run(train, "ppo", "--resume", saved.parent.parent, "--rounds", "3", cwd=tmp_path)


def test_help_lists_nothing_that_imports_a_plugin(programs, tmp_path):
    code = (
        "import sys; from esper_train.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'esper_example', 'torch'} & set(sys.modules)))"
    )
    assert run(programs / "python", "-I", "-c", code, cwd=tmp_path).splitlines()[-1] == "[]"
