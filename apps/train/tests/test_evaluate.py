"""``esper-train evaluate``: real arms on real hosts, and what is written of them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from rich.console import Console

from esper_kasmina import build_host
from esper_leyline import EpisodeEnd, FactoredAction, read_config
from esper_simic import episode_seeds
from esper_simic.evaluation import (
    ArmResult,
    EvaluationResults,
    compare,
    estimate_iqm,
    estimate_mean,
    evaluation_seeds,
)
from esper_tolaria import build_environment, find_task
from esper_train import main
from esper_train.evaluation.arms import read_arms
from esper_train.evaluation.plot import COLOURS
from esper_train.evaluation.scratch import check_scratch, flop_counter
from esper_train.evaluation.table import EvaluationTable, with_prefix

HOST_PARAMETERS = 794
HOST_FLOPS = 2 * (16 * 40 + 16 * 16 * 20 + 16 * 16 * 10 + 16 * 10)
"""Three layers of kernel 1 over 40, 20 and 10 points, and a classifier."""

SEEDS, EPOCHS, BATCHES = 2, 12, 2
SIZES = ("--max-epochs", str(EPOCHS), "--max-batches", str(BATCHES), "--device", "cpu")
RULES = ("static", "random", "schedule", "heuristic")
EAGER = "schedule:first=0,every=2,train=1,blueprint=conv_small"


@dataclass(frozen=True)
class Evaluated:
    """What the command left and said."""

    folder: Path
    output: str
    checkpoint: str

    @property
    def text(self) -> str:
        return (self.folder / "evaluation.json").read_text()

    @property
    def results(self) -> EvaluationResults:
        return EvaluationResults.model_validate_json(self.text)

    def arm(self, name: str) -> ArmResult:
        (found,) = [arm for arm in self.results.arms if arm.name == name]
        return found


def evaluate(out: Path, *arguments: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", *SIZES, "--out", str(out), *arguments]) == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def done(ppo_run, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluation") / "deep" / "out"
    checkpoint = str(ppo_run.directory / str(ppo_run.summary.checkpoint))
    arms = (*RULES, EAGER, checkpoint)
    output = evaluate(folder, "--arms", *arms, "--seeds", str(SEEDS), "--envs", "1")
    return Evaluated(folder, output, checkpoint)


def test_results_hold_every_arm_in_order(done: Evaluated) -> None:
    assert [arm.name for arm in done.results.arms] == [*RULES, EAGER, done.checkpoint]
    labels = [*RULES, EAGER, Path(done.checkpoint).stem]
    assert [arm.label for arm in done.results.arms] == labels
    assert done.results.baseline == "static"
    for arm in done.results.arms:
        assert len(arm.episodes) == SEEDS
        assert {episode.epochs for episode in arm.episodes} == {EPOCHS}
        assert {episode.ended for episode in arm.episodes} == {EpisodeEnd.HORIZON}


def test_an_arm_is_named_by_its_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eager, copy = read_arms([f"eager={EAGER}", "scratch:eager"])
    assert (eager.name, eager.label) == (EAGER, "eager")
    assert copy.label == "scratch:eager"
    check_scratch((eager, copy))
    arms = ["--arms", "a=static", "b.1=random", "--baseline", "b.1", "--device", "cpu"]
    sizes = ["--seeds", "2", "--envs", "1", "--max-epochs", "1", "--max-batches", "1"]
    where = ["--task", "mnist1d_blind", "--out", str(tmp_path)]
    assert main(["evaluate", *arms, *sizes, *where]) == 0
    assert "b.1" in capsys.readouterr().out
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert results.baseline == "b.1"
    assert [compared.arm for compared in results.comparisons] == ["a"]


def test_a_file_name_may_look_like_a_label(ppo_run, tmp_path: Path, monkeypatch) -> None:
    saved = ppo_run.directory / str(ppo_run.summary.checkpoint)
    (tmp_path / "lr=1.safetensors").write_bytes(saved.read_bytes())
    monkeypatch.chdir(tmp_path)
    (unlabelled,), (labelled,) = (
        read_arms(["lr=1.safetensors"]),
        read_arms(["mine=./lr=1.safetensors"]),
    )
    assert unlabelled.label == "lr=1"
    assert (labelled.name, labelled.label) == ("./lr=1.safetensors", "mine")


def test_all_arms_are_played_on_the_same_hosts(done: Evaluated) -> None:
    births = {
        tuple((episode.rng_seed, episode.newborn_accuracy) for episode in arm.episodes)
        for arm in done.results.arms
    }
    assert len(births) == 1
    (born,) = births
    assert tuple(seed for seed, _ in born) == done.results.rng_seeds
    assert len({accuracy for _, accuracy in born}) > 1


def test_no_seed_is_one_that_a_run_trains_on(done: Evaluated) -> None:
    config = done.results.config
    trained = {seed for n in range(1, 500) for seed in episode_seeds(config.seed, n, 16)}
    assert trained.isdisjoint(done.results.rng_seeds)
    assert max(trained) < min(done.results.rng_seeds)


def test_hosts_have_the_checkpoints_settings(done: Evaluated) -> None:
    config = done.results.config
    assert config.task == "mnist1d_blind"
    assert config.lifecycle.auto_forward_g1
    assert config.max_epochs == EPOCHS
    assert config.host is not None
    assert config.host.max_batches == BATCHES


def test_the_costs_of_a_static_host_equal_hand_arithmetic(done: Evaluated) -> None:
    rows = BATCHES * done.results.config.host.batch_size
    for episode in done.arm("static").episodes:
        assert episode.parameters == episode.host_parameters == HOST_PARAMETERS
        assert episode.forward_flops == HOST_FLOPS
        assert episode.train_flops == 3 * HOST_FLOPS * rows * EPOCHS
        assert episode.germinated == episode.fossilized == episode.pruned == 0


def test_evaluation_does_not_change_a_static_host(done: Evaluated) -> None:
    config, waits = done.results.config, [FactoredAction()]
    environment = build_environment(find_task(config.task).spec, config, build_host, "cpu")
    for episode in done.arm("static").episodes:
        environment.reset([episode.rng_seed])
        for _ in range(EPOCHS):
            (report,) = environment.step(waits)
        (test,) = environment.evaluate()
        assert report.val_accuracy == episode.val_accuracy
        assert (test.test_accuracy, test.test_loss) == (episode.test_accuracy, episode.test_loss)
    environment.close()


def test_the_table_says_which_hosts_diverged(done: Evaluated) -> None:
    results = done.results
    arm = results.arms[1]
    broken = arm.episodes[0].model_copy(update={"ended": EpisodeEnd.GOVERNOR})
    changed = arm.model_copy(update={"episodes": (broken, *arm.episodes[1:])})
    printed_table = Console(width=80, file=io.StringIO())
    printed_table.print(
        EvaluationTable(results.model_copy(update={"arms": (results.arms[0], changed)}))
    )
    assert "random: 1 of 2 hosts ended by the governor" in printed_table.file.getvalue()
    assert "broke" not in done.output


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (794, "794"),
        (999.6, "1.00 k"),
        (16_960, "17.0 k"),
        (254.4e6, "254 M"),
        (2e21, "2000.00 E"),
        (-16_960, "-17.0 k"),
        (1e308, "1.0e308"),
        (float("nan"), "NaN"),
        (float("inf"), "inf"),
    ],
)
def test_large_numbers_have_three_digits_and_a_prefix(value: float, shown: str) -> None:
    assert with_prefix(value) == shown


def test_the_costs_of_seeds_equal_hand_arithmetic(done: Evaluated) -> None:
    rows = BATCHES * done.results.config.host.batch_size
    static = done.arm("static").episodes[0]
    points = (20, 10, 5)  # after the pooling of each block
    seeds = [2 * 16 * 16 * length for length in points]
    for episode in done.arm(EAGER).episodes:
        # Germinated after 0, 2 and 4 epochs; TRAINING from the epoch after that.
        assert (episode.germinated, episode.fossilized, episode.pruned) == (3, 3, 0)
        assert episode.parameters > static.parameters
        assert episode.forward_flops == HOST_FLOPS + sum(seeds)
        grown = sum(cost * (EPOCHS - born - 1) for cost, born in zip(seeds, (0, 2, 4), strict=True))
        assert episode.train_flops == 3 * rows * (HOST_FLOPS * EPOCHS + grown)


def test_costs_are_means_over_all_hosts(done: Evaluated) -> None:
    for arm in done.results.arms:
        for name in ("parameters", "forward_flops", "train_flops", "seconds"):
            values = [getattr(episode, name) for episode in arm.episodes]
            assert getattr(arm.costs, name) == pytest.approx(sum(values) / SEEDS)
        for episode in arm.episodes:
            assert 0 < episode.decision_seconds < episode.seconds


def test_the_statistics_are_those_of_simic(done: Evaluated) -> None:
    results = done.results
    scores = {arm.label: [each.test_accuracy for each in arm.episodes] for arm in results.arms}
    assert {each.arm for each in results.comparisons} == set(scores) - {"static"}
    for arm in results.arms:
        assert arm.accuracy == estimate_mean(scores[arm.label])
        assert arm.accuracy_iqm == estimate_iqm(scores[arm.label])
    for each in results.comparisons:
        expected = compare(scores[each.arm], scores["static"], names=(each.arm, "static"))
        assert each == expected
        assert each.pairs == SEEDS


def test_seeds_are_for_tuning_unless_they_are_for_reporting(
    done: Evaluated, tmp_path: Path
) -> None:
    assert done.results.seed_range == "tuning"
    assert done.results.rng_seeds == evaluation_seeds(SEEDS)
    assert "hosts 0–1 of the tuning range" in done.output
    report = ("--range", "reporting", "--first-seed", "3", "--seeds", "2", "--envs", "1")
    where = ("--task", "mnist1d_blind")
    said = evaluate(tmp_path, "--arms", "static", *report, *where)
    assert "hosts 3–4 of the reporting range" in said
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert results.seed_range == "reporting"
    assert set(results.rng_seeds).isdisjoint(evaluation_seeds(10_000))


def test_the_table_says_that_hosts_share_their_data(done: Evaluated) -> None:
    assert done.results.shared_data == find_task("mnist1d_blind").spec.data.shared
    assert "data: all hosts share one data set" in done.output
    apart = Console(width=80, file=io.StringIO())
    apart.print(EvaluationTable(done.results.model_copy(update={"shared_data": False})))
    assert "data set" not in apart.file.getvalue()


def test_the_table_says_that_images_are_augmented(done: Evaluated) -> None:
    assert not done.results.augmented
    assert "images:" not in done.output
    changed = Console(width=80, file=io.StringIO())
    changed.print(EvaluationTable(done.results.model_copy(update={"augmented": True})))
    assert "images: augmented at random in training" in changed.file.getvalue()


def test_the_training_of_a_policy_is_counted(done: Evaluated, ppo_run) -> None:
    """Two rounds of two hosts for four epochs."""
    assert all(done.arm(name).bill is None for name in RULES)
    bill = done.arm(done.checkpoint).bill
    assert bill is not None
    assert (bill.rounds, bill.episodes, bill.epochs) == (2, 4, 16)
    config = read_config(ppo_run.directory / "config.json")
    flops = flop_counter(find_task("mnist1d_blind").spec, config)
    # A pass over the rows that train forwards and two backwards, and one over those that validate.
    assert bill.least_flops == 16 * flops.host * (3 * flops.rows + flops.validation_rows)
    said = " ".join(done.output.split())
    assert "round-00002: policy trained on 4 hosts for 16 epochs in all, at least" in said


def test_json_comes_back_as_it_was(done: Evaluated) -> None:
    assert done.results.model_dump_json(indent=2) + "\n" == done.text


def test_the_table_shows_every_arm_and_fits_80_columns(done: Evaluated) -> None:
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(EvaluationTable(done.results))
    lines = narrow.file.getvalue().splitlines()
    table = lines[next(i for i, line in enumerate(lines) if "test %" in line) :]
    firsts = [line.split()[0] for line in table if line.strip()]
    for label in (*RULES, "round-00002"):
        assert firsts.count(label) == (2 if label == "static" else 3)
    assert sum(first.startswith("schedule:") for first in firsts) == 3
    assert max(len(line) for line in table if str(done.folder) not in line) <= 80
    assert "no verdict from 2 seeds; it needs 12" in done.output


def test_the_picture_shows_every_arm(done: Evaluated) -> None:
    pixels = imread(done.folder / "evaluation.png")
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 600
    for colour in COLOURS[: len(done.results.arms)]:
        close = abs(pixels[..., :3] - to_rgb(colour)).max(axis=-1) < 0.01
        assert close.sum() > 100, colour


@pytest.mark.slow
def test_a_second_evaluation_gives_the_same_numbers(done: Evaluated, tmp_path: Path) -> None:
    arms = ("random", done.checkpoint)
    evaluate(tmp_path, "--arms", *arms, "--seeds", "2", "--envs", "1", "--baseline", arms[1])
    again = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert again.baseline == Path(done.checkpoint).stem
    for name, arm in zip(arms, again.arms, strict=True):
        for first, second in zip(done.arm(name).episodes, arm.episodes, strict=True):
            untimed = {"seconds", "decision_seconds"}
            assert first.model_dump(exclude=untimed) == second.model_dump(exclude=untimed)


def test_greedy_is_another_policy(done: Evaluated, tmp_path: Path) -> None:
    arms = ("--arms", done.checkpoint, "--policy", "greedy", "--seeds", "2", "--envs", "1")
    evaluate(tmp_path, *arms)
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert results.policy == "greedy"
    assert results.comparisons == ()
    sampled = done.arm(done.checkpoint).episodes
    assert [each.train_flops for each in results.arms[0].episodes] != [
        each.train_flops for each in sampled
    ]


@pytest.mark.slow
def test_hosts_in_parallel_match_single_ones(done: Evaluated, tmp_path: Path) -> None:
    evaluate(tmp_path, "--arms", *RULES, "--seeds", str(SEEDS), "--envs", "2")
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    for arm in results.arms:
        for mine, theirs in zip(arm.episodes, done.arm(arm.name).episodes, strict=True):
            untimed = {"seconds", "decision_seconds"}
            assert mine.model_dump(exclude=untimed) == theirs.model_dump(exclude=untimed)


@pytest.mark.slow
def test_a_policy_is_evaluated_on_a_task_it_was_not_trained_on(ppo_run, tmp_path: Path) -> None:
    checkpoint = str(ppo_run.directory / str(ppo_run.summary.checkpoint))
    sizes = ("--task", "mnist1d", "--seeds", "2", "--envs", "1")
    said = evaluate(tmp_path / "out", "--arms", "static", checkpoint, *sizes)
    results = EvaluationResults.model_validate_json((tmp_path / "out/evaluation.json").read_text())
    assert results.task == "mnist1d"
    assert [arm.trained_on for arm in results.arms] == [None, "mnist1d_blind"]
    # The rules that the policy learnt under, and the new task's own training.
    trained = ppo_run.summary
    assert trained.task == "mnist1d_blind"
    assert results.config.lifecycle.auto_forward_g1
    assert results.config.host is not None
    own = find_task("mnist1d").spec.training
    assert results.config.host == own.model_copy(update={"max_batches": BATCHES})
    assert "trained on mnist1d_blind, never saw mnist1d" in said
