"""``esper-train ppo --dual-ab``: what it takes, and what whole comparisons leave and say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from esper_karn import EventReader
from esper_leyline import RoundSummary, RunStatus, RunSummary, read_config
from esper_nissa import RunDirectory
from esper_simic import reward_modes
from esper_simic.evaluation import (
    ArmResult,
    Comparison,
    Costs,
    Estimate,
    EvaluationResults,
    SeedRange,
    Verdict,
)
from esper_train import main
from esper_train.commands.dual import resume_instructions
from esper_train.dual.pairing import plan_dual, read_pair
from esper_train.dual.training import ArmRun, read_arm_summary
from esper_train.dual.verdict import verdict_lines
from esper_train.settings.options import (
    PPO_FLAGS,
    DualOptions,
    PPOOptions,
    SourceOptions,
)

MODES = reward_modes()
PAIR = ("--dual-ab", "shaped-vs-sparse")
MISTAKES = {
    "one mode": (["--dual-ab", "shaped"], ["'shaped'", "A-vs-B", *MODES]),
    "half a pair": (["--dual-ab", "shaped-vs-"], ["'shaped-vs-'", "A-vs-B"]),
    "three modes": (["--dual-ab", "shaped-vs-sparse-vs-basic"], ["A-vs-B"]),
    "unknown mode": (["--dual-ab", "shaped-vs-sprase"], ["'sprase'", "mean 'sparse'", *MODES]),
    "a mode twice": (["--dual-ab", "basic-vs-basic"], ["'basic-vs-basic'", "itself", *MODES]),
    "seeds for nothing": (["--ab-seeds", "6"], ["--ab-seeds", "--dual-ab"]),
    "one seed": ([*PAIR, "--ab-seeds", "1"], ["--ab-seeds is 1", "at least 2"]),
    "seeds without end": ([*PAIR, "--ab-seeds", "1000000000"], ["--ab-seeds is", "at most 10000"]),
    "resumed": ([*PAIR, "--resume", "a.safetensors"], ["--resume a.safetensors", "--dual-ab"]),
    "saved": ([*PAIR, "--save", "a.safetensors"], ["--save a.safetensors", "run directory"]),
    "one log": ([*PAIR, "--telemetry-file", "a"], ["--telemetry-file a", "--telemetry-dir"]),
    "two wishes": ([*PAIR, "--device", "cpu", "--devices", "cpu", "cpu"], ["--device cpu", "half"]),
    "unknown device": ([*PAIR, "--devices", "cpu", "cuda:77"], ["cuda:77", "cpu"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, parts = MISTAKES[name]
    runs = tmp_path / "runs"
    code = main(["ppo", "--preset", "mnist1d_blind", *arguments, "--runs", str(runs)])
    message = capsys.readouterr().err
    assert code == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for part in parts:
        assert part in message
    assert not runs.exists()


def test_both_modes_have_to_have_the_parts_that_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, runs = tmp_path / "config.json", tmp_path / "runs"
    path.write_text('{"task": "mnist1d_blind", "reward": {"ablate": ["shaping"]}}')
    assert main(["ppo", *PAIR, "--config-json", str(path), "--runs", str(runs)]) == 2
    message = capsys.readouterr().err
    assert "'shaping'" in message
    assert "'sparse'" in message
    assert not runs.exists()


def test_a_runs_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    where = ("--preset", "mnist1d_blind", "--device", "cpu", "--runs", str(blocked))
    assert main(["ppo", *PAIR, *where]) == 2
    assert f"--runs {blocked} is a file; name a folder" in capsys.readouterr().err


def planned(**hardware):
    return plan_dual(
        PPOOptions(
            dual=DualOptions(dual_ab="basic_plus-vs-minimal"),
            flags=PPO_FLAGS(**hardware),
            source=SourceOptions(preset="mnist1d_blind"),
        )
    )


def test_a_pair_of_modes_is_parsed() -> None:
    assert read_pair("basic_plus-vs-minimal") == ("basic_plus", "minimal")


def test_the_arms_differ_only_in_the_reward_mode() -> None:
    plan = planned(device="cpu")
    assert not plan.parallel
    assert plan.order == "A/B: basic_plus, then minimal: in turn, on cpu alone"
    first, second = (arm.plan.config for arm in plan.arms)
    assert (first.reward.mode, second.reward.mode) == ("basic_plus", "minimal")
    alike = {"reward": {**second.reward.model_dump(), "mode": "basic_plus"}}
    assert first.model_dump() == {**second.model_dump(), **alike}


@pytest.mark.parametrize(("count", "each", "idle"), [(2, 1, 0), (3, 1, 1), (4, 2, 0)])
def test_each_arm_has_half_of_the_devices(count: int, each: int, idle: int) -> None:
    plan = planned(devices=["cpu"] * count)
    assert plan.parallel
    for arm in plan.arms:
        assert len(arm.devices) == each
        assert len(arm.plan.config.devices) == (each if each > 1 else 0)
        assert arm.plan.config.device == "cpu"
    assert len(plan.idle) == idle
    assert ("stays idle" in plan.order) == bool(idle)


def ended(directory: RunDirectory, mode: str, *, rounds: int, resume: str | None) -> ArmRun:
    row = RoundSummary(
        round=1,
        episodes=4,
        mean_return=1.0,
        mean_accuracy=50.0,
        best_accuracy=60.0,
        ops={},
        germinated=0,
        fossilized=0,
        pruned=0,
        grown_parameters=0.0,
        seconds=1.0,
    )
    summary = RunSummary(
        run_id=directory.run_id,
        command="ppo",
        task="digits",
        status=RunStatus.FAILED,
        started=1.7e9,
        seconds=1.0,
        rounds=(row,) * rounds,
        host_parameters=800,
        checkpoint="checkpoints/last.safetensors",
        resume=resume,
    )
    return ArmRun(mode=mode, directory=directory, summary=summary)


def test_a_run_without_rounds_left_is_compared_as_it_is(tmp_path: Path) -> None:
    plan = planned(device="cpu")
    directories = [RunDirectory.create(tmp_path, "digits") for _ in range(2)]
    first = ended(directories[0], "basic_plus", rounds=3, resume=None)
    second = ended(directories[1], "minimal", rounds=2, resume="uv run esper-train ppo --resume X")
    lines = resume_instructions(plan, (first, second), tmp_path)
    assert "resume with: uv run esper-train ppo --resume X" in lines
    assert str(first.checkpoint) in lines[-1]
    assert "<last checkpoint of the resumed minimal>" in lines[-1]
    assert "resumed basic_plus" not in lines[-1]


@pytest.mark.parametrize("content", [b"{}", b"[" * 100_000, b"not JSON", b"\xff"])
def test_an_unreadable_summary_is_reported(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create(tmp_path, "digits")
    assert read_arm_summary(directory) is None
    assert capsys.readouterr().out == ""
    directory.summary.write_bytes(content)
    assert read_arm_summary(directory) is None
    said = capsys.readouterr().out
    assert said.startswith("warning: ")
    assert str(directory.summary) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("verdict", "pairs", "words"),
    [
        (Verdict.BETTER, 20, "verdict: shaped is better than sparse"),
        (Verdict.WORSE, 20, "verdict: sparse is better than shaped"),
        (Verdict.TIED, 20, "verdict: tied"),
        (Verdict.UNDECIDED, 20, "verdict: undecided: the interval of shaped minus sparse"),
        (Verdict.UNDECIDED, 4, "verdict: undecided: 4 hosts are too few; a verdict needs 12"),
    ],
)
def test_the_verdict_is_in_words(verdict: Verdict, pairs: int, words: str) -> None:
    interval = Estimate(value=1.5, low=-0.25, high=3.0)
    costs = Costs(
        parameters=1.0,
        forward_flops=1.0,
        train_flops=1.0,
        validation_flops=1.0,
        total_flops=2.0,
        seconds=1.0,
    )
    results = EvaluationResults(
        task="mnist1d_blind",
        config=planned(device="cpu").arms[0].plan.config,
        rng_seeds=tuple(range(pairs)),
        seed_range=SeedRange.TUNING,
        shared_data=True,
        policy="sampled",
        baseline="sparse",
        confidence=0.95,
        arms=tuple(
            ArmResult(
                name=name,
                label=name,
                accuracy=interval,
                accuracy_iqm=interval,
                costs=costs,
                wall_seconds=1.0,
                episodes=(),
            )
            for name in ("shaped", "sparse")
        ),
        comparisons=(
            Comparison(
                arm="shaped",
                baseline="sparse",
                pairs=pairs,
                least_pairs=12,
                difference=interval,
                iqm_difference=interval,
                win_rate=Estimate(value=0.65, low=0.4, high=0.8),
                verdict=verdict,
            ),
        ),
        versions={},
    )
    lines = verdict_lines(results)
    assert lines[0].startswith(words)
    assert "+1.5 points of test accuracy (95 %: -0.2 to +3.0)" in lines[1]
    assert f"wins on 65 % of {pairs} hosts" in lines[1]
    assert max(map(len, lines)) <= 120


def begun(folder: Path) -> list[Path]:
    """Returns the run directories in the order in which they were begun."""
    return sorted(path for path in folder.iterdir() if (path / "config.json").is_file())


def compare(command, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        command("ppo", *PAIR, *arguments, "--runs", str(folder)),
        check=False,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def check_comparison(folder: Path, output: str) -> dict[str, list[dict]]:
    """Checks what a comparison leaves, and returns the rounds of each mode's run."""
    runs = begun(folder)
    (group,) = set(folder.iterdir()) - set(runs)
    assert "-mnist1d_blind-shaped-vs-sparse-" in group.name
    assert {path.name for path in group.iterdir()} == {"evaluation.json", "evaluation.png"}
    rounds = {}
    for run in runs:
        summary = RunSummary.model_validate_json((run / "summary.json").read_text())
        assert (summary.status, summary.group) == (RunStatus.COMPLETED, group.name)
        with EventReader(run / "events.jsonl") as reader:
            assert {event.group for event in reader.read()} == {group.name}
        mode = read_config(run / "config.json").reward.mode
        rounds[mode] = [
            each.model_copy(update={"seconds": 0.0}).model_dump() for each in summary.rounds
        ]
    assert set(rounds) == {"shaped", "sparse"}
    results = EvaluationResults.model_validate_json((group / "evaluation.json").read_text())
    assert [arm.label for arm in results.arms] == ["shaped", "sparse"]
    born = [[(e.rng_seed, e.newborn_accuracy) for e in arm.episodes] for arm in results.arms]
    assert born[0] == born[1]
    assert len(born[0]) == 2
    assert (results.comparisons[0].arm, results.baseline) == ("shaped", "sparse")
    for words in (group.name, "wins %", "(--ab-seeds)", *verdict_lines(results)):
        assert words in output
    return rounds


@pytest.mark.slow
def test_a_comparison_in_turn_and_one_side_by_side_are_the_same(
    command, blind, tmp_path: Path
) -> None:
    short = (*blind, "--rounds", "2", "--ab-seeds", "2")
    turns, apart = tmp_path / "turns", tmp_path / "apart"
    output = compare(command, turns, *short, "--device", "cpu")
    assert "in turn, on cpu alone" in output
    rounds = check_comparison(turns, output)
    # Both policies are born alike and meet the same hosts: before the first update they act alike.
    first, second = (rounds[mode][0] for mode in ("shaped", "sparse"))
    assert first["ops"] == second["ops"]
    assert first["mean_accuracy"] == second["mean_accuracy"]
    assert first["mean_return"] != second["mean_return"]
    output = compare(command, apart, *short, "--devices", "cpu", "cpu")
    assert "shaped on cpu, sparse on cpu, side by side" in output
    for mode in ("shaped", "sparse"):
        assert f"{mode} | round 2/2" in output
    assert check_comparison(apart, output) == rounds


@pytest.mark.slow
def test_ctrl_c_prints_no_comparison(command, interrupt, small, tmp_path: Path) -> None:
    endless = command("ppo", *PAIR, *small, "--rounds", "500", "--runs", str(tmp_path))
    output = interrupt(endless, "round   1/")
    (run,) = tmp_path.iterdir()
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    assert summary.status is RunStatus.INTERRUPTED
    assert (run / str(summary.checkpoint)).is_file()
    assert "no comparison: shaped interrupted after" in output
    assert "sparse was not started" in output
    assert "the same command again" in output
    assert "verdict" not in output
    # Taken up again by itself, it is still an arm of the comparison.
    more = ("--rounds", str(len(summary.rounds) + 1))
    go_on = command("ppo", "--resume", str(run), *more, "--no-tui")
    subprocess.run(go_on, check=True, capture_output=True, timeout=300)
    resumed = RunSummary.model_validate_json((run / "summary.json").read_text())
    assert len(resumed.rounds) == len(summary.rounds) + 1
    assert resumed.group == summary.group is not None


@pytest.mark.slow
def test_ctrl_c_in_parallel_prints_resume_commands(
    command, interrupt, blind, tmp_path: Path
) -> None:
    sizes = (*blind, "--devices", "cpu", "cpu", "--rounds", "500", "--runs", str(tmp_path))
    output = interrupt(command("ppo", *PAIR, *sizes), "sparse | round   2/")
    assert len(begun(tmp_path)) == len(list(tmp_path.iterdir())) == 2
    assert "no comparison: shaped interrupted after" in output
    for run in begun(tmp_path):
        summary = RunSummary.model_validate_json((run / "summary.json").read_text())
        assert summary.status is RunStatus.INTERRUPTED
        assert f"--resume {run}" in output
    assert "verdict" not in output
