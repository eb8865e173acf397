from __future__ import annotations

import pytest
import torch

from esper_leyline import Op, PolicyConfig, RewardBreakdown
from esper_simic import PPORunner, build_reward, run_controllers
from esper_tamiyo import RandomMaskedController, RecurrentPolicy
from esper_tolaria import find_preset

from .rollout_helpers import RNG_SEED, config
from .simulated_hosts import PaperEnvironment
from .toy_environments import (
    ForgetfulPolicy,
    PuzzleEnvironment,
    bandit_reward,
    recall_reward,
    small_policy,
)


def mean_return(outcome, rounds: int = 5) -> float:
    return sum(summary.mean_return for summary in outcome.rounds[-rounds:]) / rounds


@pytest.mark.parametrize("amp", [False, True])
def test_the_rewarded_op_is_learnt(amp):
    world = PuzzleEnvironment(environments=16, length=2, open_steps=2)
    policy = small_policy(world)
    trainer = PPORunner(world, policy, bandit_reward, config(epochs=4, amp=amp), rng_seed=RNG_SEED)
    assert mean_return(trainer.learn(15)) > 1.8


def second_slot_reward(previous, action, current):
    """1 for germinating in the second slot, 0 for all else: at best 2 an episode."""
    right = action.op is Op.GERMINATE and action.slot == 1
    return RewardBreakdown(components={"slot": float(right)})


@pytest.mark.parametrize(("floor", "recovers"), [(PolicyConfig().floors["slot"], True), (0, False)])
def test_a_head_that_collapsed_on_the_wrong_choice_recovers_by_its_floor(floor, recovers):
    world = PuzzleEnvironment(environments=32, length=2, open_steps=2)
    policy = small_policy(world, floor=floor)
    with torch.no_grad():
        policy.policy.heads["slot"].bias[0] += 12.0
    settings = config(epochs=4, learning_rate=1e-2)
    returns = [
        each.mean_return
        for each in PPORunner(world, policy, second_slot_reward, settings, rng_seed=RNG_SEED)
        .learn(24)
        .rounds
    ]
    assert max(returns[:3]) < 0.3
    assert (returns[-1] > 1.5) == recovers
    assert (max(returns) == 0.0) != recovers


@pytest.fixture
def recall():
    """The slot is to be what a cue said two steps ago: at best 1 an episode."""
    return PuzzleEnvironment(environments=48, length=3)


RECALL = {"epochs": 8, "learning_rate": 3e-3}


@pytest.mark.nightly
def test_memory_recalls_the_cue(recall):
    policy = small_policy(recall, size=32)
    trainer = PPORunner(recall, policy, recall_reward, config(**RECALL), rng_seed=RNG_SEED)
    for rounds in range(10, 121, 10):
        outcome = trainer.learn(rounds)
        if mean_return(outcome) > 0.95:
            return
    pytest.fail(f"the cue was not learnt in {rounds} rounds: {mean_return(outcome):.2f}")


@pytest.mark.nightly
def test_without_memory_the_cue_is_lost(recall):
    policy = small_policy(recall, size=32)
    policy.__class__ = ForgetfulPolicy
    outcome = PPORunner(recall, policy, recall_reward, config(**RECALL), rng_seed=RNG_SEED).learn(
        60
    )
    assert 0.3 < mean_return(outcome) < 0.7


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_growing_is_learnt_on_simulated_hosts(seed):
    """The first preset's whole loop, hosts apart: thirty rounds of six episodes."""
    settings = find_preset("mnist1d").model_copy(update={"seed": seed})
    world = PaperEnvironment(
        environments=settings.n_envs, length=settings.max_epochs, rules=settings.lifecycle
    )
    reward = build_reward(settings.reward, gamma=settings.ppo.gamma)
    torch.manual_seed(seed)
    policy = RecurrentPolicy(world.spec, settings.policy)
    learnt = PPORunner(world, policy, reward, settings.ppo, rng_seed=seed).learn(
        settings.n_episodes
    )
    random = [RandomMaskedController(world.spec) for _ in range(settings.n_envs)]
    guessed = run_controllers(world, random, reward, rounds=settings.n_episodes, rng_seed=seed)
    first, last = learnt.rounds[:10], learnt.rounds[-10:]
    assert mean_return(learnt, 10) > 1.0 + sum(r.mean_return for r in first) / 10
    assert mean_return(learnt, 10) > 1.0 + mean_return(guessed, 30)
    assert sum(r.fossilized for r in last) > sum(r.fossilized for r in first)
    assert sum(r.mean_accuracy for r in last) > sum(r.mean_accuracy for r in first)
