"""Op and slot have to be remembered together: what an LSTM learns and an MLP cannot."""

from __future__ import annotations

import pytest

from esper_leyline import FactoredAction, Op
from esper_simic import PPORunner, run_controllers

from .recall import (
    ASKED,
    OPTIMUM,
    SLOTS,
    WITHOUT_MEMORY,
    TwoHeadRecall,
    cued_op,
    cued_slot,
    recall_reward,
)
from .rollout_helpers import RNG_SEED, config
from .toy_environments import ForgetfulPolicy, small_policy

LEARNER = {
    "epochs": 8,
    "minibatches": 4,
    "learning_rate": 1e-3,
    "learning_rate_final": 1e-4,
    "learning_rate_anneal_episodes": 64 * 100,
    "target_kl": 0.1,
}


class Answer:
    """Answers by rule, from the cue or from what is open."""

    def __init__(self, *, remembers: bool) -> None:
        self.remembers = remembers

    def reset(self, rng_seed: int) -> None:
        self.seed = rng_seed

    def decide(self, report):
        slots = [index for index, seed in enumerate(report.seeds) if seed.permitted]
        if not slots:
            return FactoredAction()
        if self.remembers:
            return FactoredAction(op=cued_op(self.seed), slot=cued_slot(self.seed))
        return FactoredAction(op=Op.ADVANCE, slot=slots[0])


def mean_return(outcome, rounds: int) -> float:
    return sum(summary.mean_return for summary in outcome.rounds[-rounds:]) / rounds


@pytest.mark.parametrize(("remembers", "earned"), [(True, OPTIMUM), (False, WITHOUT_MEMORY)])
def test_a_rule_earns_the_optimum(remembers, earned):
    world = TwoHeadRecall(environments=400)
    rules = [Answer(remembers=remembers) for _ in range(400)]
    outcome = run_controllers(world, rules, recall_reward, rounds=5, rng_seed=RNG_SEED)
    # Five standard errors of 2,000 fair guesses.
    assert mean_return(outcome, 5) == pytest.approx(earned, abs=0.05)


def test_the_question_does_not_reveal_the_cue():
    """Every (open slots, op, slot) is as frequent as any other over the seeds that differ."""
    world = TwoHeadRecall(environments=12)
    reports = world.reset(range(12))
    for _ in range(world.length - 1):
        reports = world.step([FactoredAction()] * 12)
    asked = [
        (tuple(bool(seed.permitted) for seed in report.seeds), cued_op(each), cued_slot(each))
        for each, report in enumerate(reports)
    ]
    assert len(set(asked)) == 12
    for opened, _, slot in asked:
        assert opened.count(True) == 2
        assert opened[slot]
    assert all(seed.alpha == 0 for report in reports for seed in report.seeds)
    assert {op for report in reports for seed in report.seeds for op in seed.permitted} == {*ASKED}
    assert len(reports[0].seeds) == len(SLOTS)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_memory_recalls_op_and_slot(seed):
    world = TwoHeadRecall(environments=64)
    policy = small_policy(world, size=32, seed=seed)
    trainer = PPORunner(world, policy, recall_reward, config(**LEARNER), rng_seed=seed)
    for rounds in range(10, 151, 10):
        outcome = trainer.learn(rounds)
        if mean_return(outcome, 10) > 0.9 * OPTIMUM:
            return
    pytest.fail(f"the cue was not learnt in {rounds} rounds: {mean_return(outcome, 10):.2f}")


@pytest.mark.nightly
def test_without_memory_the_analytic_bound_holds():
    world = TwoHeadRecall(environments=64)
    policy = small_policy(world, size=32)
    policy.__class__ = ForgetfulPolicy
    outcome = PPORunner(world, policy, recall_reward, config(**LEARNER), rng_seed=RNG_SEED).learn(
        100
    )
    # It learns to answer at all, and then guesses: 20 rounds of 64 are within four standard errors.
    assert mean_return(outcome, 20) == pytest.approx(WITHOUT_MEMORY, abs=0.05)
