"""Controllers played on the same hosts of an environment of the caller's."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from esper_leyline import EpisodeEnd
from esper_simic import SimicError
from esper_simic.evaluation import (
    Verdict,
    compare_arms,
    compare_controllers,
    evaluation_seeds,
    play_arm,
    summarize_arm,
)

SCRIPT = Path(__file__).parents[3] / "tests" / "comparing_controllers.py"
SEEDS = evaluation_seeds(14)


@pytest.fixture(scope="module", name="toys")
def toys_fixture() -> dict:
    return runpy.run_path(str(SCRIPT))


def played(toys: dict, epoch: int, **options):
    environment = toys["ToyEnvironment"](environments=4)
    return play_arm(environment, lambda _: toys["FossilizeAt"](epoch), SEEDS, **options)


@pytest.mark.slow
def test_the_script_prints_the_verdict() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "patient minus hasty: 2.0, better\n"


def test_the_difference_is_that_of_the_controllers(toys: dict) -> None:
    judged = compare_controllers(
        toys["ToyEnvironment"](environments=3),
        lambda _: toys["FossilizeAt"](0),
        lambda _: toys["FossilizeAt"](2),
        rng_seeds=SEEDS,
    )
    assert (judged.arm, judged.baseline, judged.pairs) == ("first", "second", 14)
    assert judged.difference.value == pytest.approx(-2)
    assert judged.verdict is Verdict.WORSE


def test_episodes_come_in_the_order_of_the_seeds(toys: dict) -> None:
    done: list[int] = []
    episodes = played(toys, 3, on_progress=done.append)
    assert tuple(episode.rng_seed for episode in episodes) == SEEDS
    assert done == [4, 8, 12, 14]
    assert {(each.epochs, each.ended) for each in episodes} == {(6, EpisodeEnd.HORIZON)}
    assert {each.test_accuracy - each.newborn_accuracy for each in episodes} == {3.0}


def test_hosts_may_train_for_different_epochs(toys: dict) -> None:
    epochs = {seed: 1 + index % 3 for index, seed in enumerate(SEEDS)}
    episodes = played(toys, 5, epochs=epochs)
    assert {each.rng_seed: each.epochs for each in episodes} == epochs
    gains = {each.rng_seed: each.test_accuracy - each.newborn_accuracy for each in episodes}
    assert gains == {seed: pytest.approx(count) for seed, count in epochs.items()}


def test_without_a_counter_no_flops_are_reported(toys: dict) -> None:
    episodes = played(toys, 3)
    assert {each.total_flops for each in episodes} == {None}
    arm = summarize_arm("toy", "toy", episodes, 1.0)
    assert (arm.costs.parameters, arm.costs.total_flops) == (150.0, None)


def test_an_arm_that_is_stopped_has_no_result(toys: dict) -> None:
    assert played(toys, 3, should_stop=lambda: True) is None


def test_arms_on_different_hosts_are_refused(toys: dict) -> None:
    episodes = played(toys, 3)
    moved = [each.model_copy(update={"newborn_accuracy": 1.0}) for each in episodes]
    arms = [summarize_arm("a", "a", episodes, 1.0), summarize_arm("b", "b", moved, 1.0)]
    with pytest.raises(SimicError, match="arms 'a' and 'b' started from different hosts"):
        compare_arms(arms, "b")


def test_an_environment_without_evaluation_is_refused(toys: dict) -> None:
    environment = toys["ToyEnvironment"](environments=4)
    environment.evaluate = tuple
    with pytest.raises(SimicError, match="evaluated 0 of 4 hosts on the test split"):
        play_arm(environment, lambda _: toys["FossilizeAt"](0), SEEDS)
