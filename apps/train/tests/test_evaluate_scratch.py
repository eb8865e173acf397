"""The arms from scratch: hosts that are born as another arm's ended."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from esper_kasmina import build_host
from esper_leyline import (
    EpisodeEnd,
    FactoredAction,
    HostOptions,
    SeedStage,
    TrainingConfig,
    override,
)
from esper_simic.evaluation import (
    ArmResult,
    EpisodeResult,
    EvaluationResults,
    FlopCounter,
    play_arm,
)
from esper_tamiyo import StaticController
from esper_tolaria import build_environment, find_task
from esper_train import main
from esper_train.evaluation.arms import ScratchArm, read_arms
from esper_train.evaluation.scratch import GrownHosts, flop_counter, training_epochs

EPOCHS = 7
GROWN = "schedule:first=0,every=2,train=1,blueprint=conv_small"
SIZES = ("--max-epochs", str(EPOCHS), "--max-batches", "1", "--seeds", "2", "--envs", "1")
ARMS = ("scratch", GROWN, "scratch:random", "random", "scratch-flops:random")


@pytest.fixture(scope="module", name="results")
def results_fixture(tmp_path_factory: pytest.TempPathFactory) -> EvaluationResults:
    out = tmp_path_factory.mktemp("scratch")
    where = ("--task", "mnist1d_blind", "--device", "cpu", "--out", str(out))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", "--arms", *ARMS, *SIZES, *where]) == 0
    spoken = " ".join(said.getvalue().split())
    origin = "starts with the seeds that random ended with"
    assert f"scratch:random: {origin} scratch-flops:random: {origin}, trained for" in spoken
    assert "trained for as many FLOPs: " in spoken
    assert (out / "evaluation.png").stat().st_size > 0
    return EvaluationResults.model_validate_json((out / "evaluation.json").read_text())


def named(results: EvaluationResults, name: str) -> ArmResult:
    (arm,) = [arm for arm in results.arms if arm.name == name]
    return arm


def validated(arm: ArmResult) -> float:
    return sum(episode.val_accuracy for episode in arm.episodes)


def test_arms_keep_their_names_and_order(results: EvaluationResults) -> None:
    assert tuple(arm.name for arm in results.arms) == ARMS
    grown = [named(results, GROWN), named(results, "random")]
    assert named(results, "scratch").copied == max(grown, key=validated).label
    assert named(results, "scratch:random").copied == "random"
    assert {(arm.copied, arm.budget) for arm in grown} == {(None, None)}
    budgets = {arm.name: (arm.copied, arm.budget) for arm in results.arms if arm not in grown}
    assert budgets["scratch:random"] == ("random", "epochs")
    assert budgets["scratch-flops:random"] == ("random", "flops")


@pytest.mark.parametrize("name", ["scratch", "scratch:random", "scratch-flops:random"])
def test_networks_from_scratch_equal_the_grown_ones(results: EvaluationResults, name: str) -> None:
    arm = named(results, name)
    (model,) = [each for each in results.arms if each.label == arm.copied]
    assert any(episode.seeds for episode in model.episodes)
    flops = flop_counter(find_task(results.task).spec, results.config)
    for mine, theirs in zip(arm.episodes, model.episodes, strict=True):
        assert mine.rng_seed == theirs.rng_seed
        assert mine.parameters == theirs.parameters
        assert mine.newborn_accuracy == theirs.newborn_accuracy
        epochs = mine.epochs if arm.budget == "flops" else EPOCHS
        assert mine.train_flops == epochs * flops.rows * 3 * mine.forward_flops
        assert {seed.stage for seed in mine.seeds} <= {SeedStage.FOSSILIZED}
        kinds = [
            [(seed.slot, seed.blueprint, seed.style) for seed in episode.seeds]
            for episode in (mine, theirs)
        ]
        assert kinds[0] == kinds[1]


def test_equal_flops_give_as_many_epochs_as_fit(results: EvaluationResults) -> None:
    arm, model = named(results, "scratch-flops:random"), named(results, "random")
    for mine, theirs in zip(arm.episodes, model.episodes, strict=True):
        assert mine.ended is EpisodeEnd.HORIZON
        epoch = mine.total_flops // mine.epochs
        assert mine.total_flops == mine.train_flops + mine.validation_flops
        assert mine.total_flops <= theirs.total_flops < mine.total_flops + epoch
    assert {episode.epochs for episode in arm.episodes} != {EPOCHS}


@pytest.mark.parametrize("name", ["scratch", "scratch-flops:random"])
def test_all_of_a_network_from_scratch_trains_from_the_first_epoch(
    results: EvaluationResults, name: str
) -> None:
    """In episodes of exactly their length, whatever the evaluation made of them."""
    arm, task = named(results, name), find_task(results.task).spec
    for episode in arm.episodes:
        config = override(results.config, {"max_epochs": episode.epochs})
        environment = build_environment(task, config, GrownHosts.like(arm), "cpu")
        (report,) = environment.reset([episode.rng_seed])
        assert report.total_parameters == episode.parameters
        assert {seed.alpha for seed in report.seeds if seed.occupied} <= {1.0}
        while report.ended is None:
            (report,) = environment.step([FactoredAction()])
            assert all(seed.gradient_norm for seed in report.seeds if seed.occupied)
        assert report.epoch == episode.epochs
        assert report.val_accuracy == episode.val_accuracy
        assert environment.evaluate()[0].test_accuracy == episode.test_accuracy
        environment.close()


@pytest.fixture(scope="module", name="sizes")
def sizes_fixture() -> TrainingConfig:
    task = find_task("mnist1d_blind").spec
    training = task.training.model_dump(mode="json")
    changes = {"task": task.name, "n_envs": 1, "host": {**training, "max_batches": 1}}
    return override(TrainingConfig(), changes)


@pytest.mark.parametrize(("spent", "epochs"), [(39, 3), (40, 4), (49, 4), (200, 20), (1, 1)])
def test_a_budget_of_flops_gives_a_number_of_epochs(
    sizes: TrainingConfig, results: EvaluationResults, spent: int, epochs: int
) -> None:
    """Tenths of what an epoch of the final network takes: more than the episode had, or less."""
    flops = flop_counter(find_task(sizes.task).spec, sizes)
    model = named(results, "random")
    whole = [
        flops.whole_epoch(episode.seeds) + flops.whole_validation(episode.seeds)
        for episode in model.episodes
    ]
    assert whole[0] != whole[1]
    spenders = [
        episode.model_copy(update={"total_flops": spent * epoch // 10})
        for episode, epoch in zip(model.episodes, whole, strict=True)
    ]
    arm = model.model_copy(update={"episodes": tuple(spenders)})
    (asked,) = read_arms(["scratch-flops"])
    assert isinstance(asked, ScratchArm)
    found = training_epochs(asked, arm, flops, EPOCHS)
    assert found == dict.fromkeys(results.rng_seeds, epochs)


def test_hosts_of_different_lengths_in_parallel_match_single_ones(sizes: TrainingConfig) -> None:
    flops = flop_counter(find_task(sizes.task).spec, sizes)
    epochs = {11: 3, 12: 1, 13: 2, 14: 3}
    wide = override(sizes, {"n_envs": 3, "max_epochs": 3})
    together = play_together(wide, epochs, flops)
    assert [episode.rng_seed for episode in together] == list(epochs)
    for episode in together:
        alone = {episode.rng_seed: epochs[episode.rng_seed]}
        short = override(sizes, {"max_epochs": episode.epochs})
        (same,) = play_together(short, alone, flops)
        untimed = {"seconds", "decision_seconds"}
        assert episode.model_dump(exclude=untimed) == same.model_dump(exclude=untimed)
        assert episode.epochs == epochs[episode.rng_seed]
        assert episode.train_flops == episode.epochs * flops.rows * 3 * flops.host


def play_together(
    config: TrainingConfig, epochs: dict[int, int], flops: FlopCounter
) -> tuple[EpisodeResult, ...]:
    environment = build_environment(
        find_task(config.task).spec, config, build_host, "cpu", workers=1
    )
    played = play_arm(
        environment,
        lambda _: StaticController(),
        tuple(epochs),
        flops=flops,
        epochs=epochs,
    )
    environment.close()
    assert played is not None
    return played


def test_help_names_the_arms_from_scratch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--help"]) == 0
    said = capsys.readouterr().out
    assert "scratch: hosts that" in said
    assert "scratch-flops: the same" in said


def test_no_trained_weight_is_copied(results: EvaluationResults) -> None:
    arm, task = named(results, "scratch"), find_task(results.task).spec
    seed = arm.episodes[0].rng_seed
    options = HostOptions(slots=task.slots, rng_seed=seed)
    mine, bare = GrownHosts.like(arm)(task.host, options), build_host(task.host, options)
    again = GrownHosts.like(arm)(task.host, options)
    mine_tensors, tensors = dict(mine.named_parameters()), dict(bare.named_parameters())
    assert set(mine_tensors) > set(tensors)
    assert all(mine_tensors[name].equal(tensors[name]) for name in tensors)
    assert all(value.equal(mine_tensors[name]) for name, value in again.named_parameters())


def test_the_only_checkpoint_is_copied_by_default(ppo_run, tmp_path: Path) -> None:
    checkpoint = ppo_run.directory / str(ppo_run.summary.checkpoint)
    arms = ("--arms", "random", str(checkpoint), "scratch", f"scratch-flops:{checkpoint}")
    sizes = ("--max-epochs", "3", "--max-batches", "1", "--seeds", "2", "--envs", "1")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["evaluate", *arms, *sizes, "--device", "cpu", "--out", str(tmp_path)]) == 0
    results = EvaluationResults.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert [arm.copied for arm in results.arms] == [None, None, checkpoint.stem, checkpoint.stem]
    assert results.arms[3].label == f"scratch-flops:{checkpoint.stem}"
