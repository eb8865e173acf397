"""The arm from scratch: hosts that are born as another arm's ended."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from esper_kasmina import build_host
from esper_leyline import FactoredAction, LifecycleRules, SeedStage
from esper_tolaria import build_environment, get_task
from esper_train import main
from esper_train.evaluation.flops import FlopCounter
from esper_train.evaluation.results import ArmResult, EvaluationResults
from esper_train.evaluation.scratch import GrownHosts

EPOCHS = 8
GROWN = "schedule:first=0,every=2,train=1,blueprint=conv_small"
SIZES = ("--max-epochs", str(EPOCHS), "--max-batches", "2", "--seeds", "2", "--envs", "1")
ARMS = ("scratch", "static", GROWN, "scratch:random", "random")


@pytest.fixture(scope="module", name="results")
def results_fixture(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResults:
    out = tmp_path_factory.mktemp("scratch")
    where = ("--task", "mnist1d_blind", "--device", "cpu", "--out", str(out))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", "--arms", *ARMS, *SIZES, *where]) == 0
    assert "scratch:random: born with the seeds that random ended with" in said.getvalue()
    assert (out / "evaluation.png").stat().st_size > 0
    return EvaluationResults.model_validate_json((out / "evaluation.json").read_text())


def named(results: EvaluationResults, name: str) -> ArmResult:
    (arm,) = [arm for arm in results.arms if arm.name == name]
    return arm


def validated(arm: ArmResult) -> float:
    return sum(episode.val_accuracy for episode in arm.episodes)


def test_arms_stand_as_they_were_asked_for(results: EvaluationResults) -> None:
    assert tuple(arm.name for arm in results.arms) == ARMS
    grown = [named(results, GROWN), named(results, "random")]
    assert named(results, "scratch").copied == max(grown, key=validated).label
    assert named(results, "scratch:random").copied == "random"
    assert {arm.copied for arm in grown} == {None}


@pytest.mark.parametrize("name", ["scratch", "scratch:random"])
def test_its_networks_are_those_that_were_grown(results: EvaluationResults, name: str) -> None:
    arm = named(results, name)
    (model,) = [each for each in results.arms if each.label == arm.copied]
    assert any(episode.seeds for episode in model.episodes)
    flops = FlopCounter(get_task(results.task), results.config)
    for mine, theirs in zip(arm.episodes, model.episodes, strict=True):
        assert mine.seed == theirs.seed
        assert mine.parameters == theirs.parameters
        assert mine.newborn_accuracy == theirs.newborn_accuracy
        assert mine.train_flops == EPOCHS * flops.rows * 3 * mine.forward_flops
        assert {seed.stage for seed in mine.seeds} <= {SeedStage.FOSSILIZED}
        kinds = [
            [(seed.slot, seed.blueprint, seed.style) for seed in episode.seeds]
            for episode in (mine, theirs)
        ]
        assert kinds[0] == kinds[1]


def test_they_train_from_the_first_epoch_as_a_plain_network_would(
    results: EvaluationResults,
) -> None:
    arm = named(results, "scratch")
    hosts, config = GrownHosts.like(arm), results.config
    environment = build_environment(get_task(results.task), config, hosts, "cpu")
    for episode in arm.episodes:
        (born,) = environment.reset([episode.seed])
        assert born.total_parameters == episode.parameters
        assert {seed.alpha for seed in born.seeds if seed.occupied} <= {1.0}
        for _ in range(EPOCHS):
            (report,) = environment.step([FactoredAction()])
            assert all(seed.gradient_norm for seed in report.seeds if seed.occupied)
        assert report.val_accuracy == episode.val_accuracy
        assert environment.evaluate()[0].test_accuracy == episode.test_accuracy
    environment.close()


def test_nothing_that_was_learnt_is_copied(results: EvaluationResults) -> None:
    arm, task = named(results, "scratch"), get_task(results.task)
    seed = arm.episodes[0].seed
    settings = {"slots": task.slots, "rules": LifecycleRules(), "max_seeds": None, "seed": seed}
    mine, bare = GrownHosts.like(arm)(task.host, **settings), build_host(task.host, **settings)
    again = GrownHosts.like(arm)(task.host, **settings)
    mine_tensors, tensors = dict(mine.named_parameters()), dict(bare.named_parameters())
    assert set(mine_tensors) > set(tensors)
    assert all(mine_tensors[name].equal(tensors[name]) for name in tensors)
    assert all(value.equal(mine_tensors[name]) for name, value in again.named_parameters())


def test_the_one_checkpoint_is_what_it_copies(ppo_run, tmp_path: Path) -> None:
    checkpoint = ppo_run.directory / str(ppo_run.summary.checkpoint)
    arms = ("--arms", "random", str(checkpoint), "scratch", f"scratch:{checkpoint}")
    sizes = ("--max-epochs", "3", "--max-batches", "1", "--seeds", "2", "--envs", "1")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["evaluate", *arms, *sizes, "--device", "cpu", "--out", str(tmp_path)]) == 0
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert [arm.copied for arm in results.arms] == [None, None, checkpoint.stem, checkpoint.stem]
    assert results.arms[3].label == f"scratch:{checkpoint.stem}"
