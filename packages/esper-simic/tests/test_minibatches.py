from __future__ import annotations

from copy import deepcopy
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import HEADS, PPOConfig
from esper_simic import PPO, PPORunner, SimicError
from esper_simic.ppo.batch import Minibatch, split_environments
from esper_simic.ppo.objective import LossStats, merge_minibatches, ppo_loss

from .rollout_helpers import RNG_SEED, config, permuted, weights
from .toy_environments import PuzzleEnvironment, bandit_reward, small_policy


def updater(policy, **ppo):
    facts = {"epochs": 1, "learning_rate": 3e-3, "target_kl": None} | ppo
    return PPO(deepcopy(policy), PPOConfig(**facts))


def recorded(learner):
    """Makes a learner keep the statistics of every step."""
    seen, backward = [], learner._backward

    def keeping(minibatch, cached, *, capture_reference):
        stats = backward(minibatch, cached, capture_reference=capture_reference)
        seen.append((minibatch.environments, stats))
        return stats

    learner._backward = keeping
    return seen


@given(st.integers(1, 40), st.data())
def test_every_environment_is_in_one_minibatch(environments, data):
    count = data.draw(st.integers(1, environments))
    parts = split_environments(environments, count, rng_seed=(1, 2))
    sizes = [len(part) for part in parts]
    assert sorted(torch.cat(parts).tolist()) == list(range(environments))
    assert len(parts) == count
    assert max(sizes) - min(sizes) <= 1


def test_the_split_depends_on_round_and_pass_only():
    seeds = [(1, 0), (1, 1), (2, 0)]
    orders = [torch.cat(split_environments(30, 3, rng_seed=seed)).tolist() for seed in seeds]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert torch.cat(split_environments(30, 3, rng_seed=(1, 0))).tolist() == orders[0]


@pytest.mark.parametrize("chunk_length", [None, 2])
def test_a_pass_makes_one_step_per_minibatch_and_the_first_has_ratio_one(
    policy, rollout, chunk_length
):
    learner = updater(policy, minibatches=3, chunk_length=chunk_length)
    seen = recorded(learner)
    event = learner.update(rollout, round_number=1)
    assert [environments for environments, _ in seen] == [2, 2, 2]
    assert event.passes == 1
    first, second = seen[0][1], seen[1][1]
    assert first.ratio_min == first.ratio_max == 1.0
    assert first.kl.max() == 0.0
    assert second.ratio_min < 1.0 < second.ratio_max


def test_more_steps_per_pass_change_the_policy_more(policy, rollout):
    one, three = updater(policy), updater(policy, minibatches=3)
    kl = [learner.update(rollout, round_number=1).kl for learner in (one, three)]
    assert kl[0] == 0.0
    assert kl[1] > 0.0


def test_statistics_of_minibatches_merge_to_those_of_the_whole(policy, rollout):
    """The metrics of a pass are means over its steps, however unequal the minibatches are."""
    learner = updater(policy)
    batches = []
    learner._learn = lambda batch, *_: batches.append(batch)
    learner.update(rollout, round_number=1)
    whole = batches[0].whole
    expected = statistics(policy, whole)
    parts = [statistics(policy, whole.select(torch.tensor(of))) for of in ([4], [0, 1, 2], [3, 5])]
    merged = merge_minibatches(parts)
    for field in fields(LossStats):
        if field.name != "loss":
            one, other = getattr(merged, field.name), getattr(expected, field.name)
            assert torch.allclose(one, other, atol=1e-6), field.name


def statistics(policy, minibatch: Minibatch) -> LossStats:
    with torch.no_grad():
        evaluation = policy.evaluate(
            minibatch.observation, minibatch.actions, minibatch.state, minibatch.starts
        )
    coefficients = torch.full((len(HEADS),), 0.05)
    return ppo_loss(
        evaluation, minibatch, clip=0.2, value_coefficient=0.5, entropy_coefficients=coefficients
    )


def test_the_rate_is_adapted_within_a_pass(policy, rollout):
    learner = updater(policy, epochs=1, minibatches=6, target_kl=1e-9)
    event = learner.update(rollout, round_number=1)
    # The first of the six steps starts at the policy that acted, whose KL is 0.
    assert event.learning_rate == pytest.approx(3e-3 / 1.5**5)
    assert event.passes == 1
    assert event.skipped is None


def test_a_head_without_a_choice_in_one_minibatch_is_not_reported_as_collapsed(policy, rollout):
    measured = []
    for minibatches in (1, 6):
        learner = updater(policy, minibatches=minibatches, learning_rate=1e-9)
        measured.append(learner.update(rollout, round_number=1).head_entropy["slot"])
    assert measured[1] == pytest.approx(measured[0], rel=1e-4)


def test_a_run_with_minibatches_is_resumed_bit_for_bit():
    def trainer():
        world = PuzzleEnvironment(environments=4, length=3, open_steps=2)
        policy = small_policy(world, floor=0.1)
        settings = config(
            minibatches=2,
            target_kl=1e-4,
            learning_rate_final=1e-3,
            learning_rate_anneal_episodes=16,
            entropy_final=0.001,
            entropy_anneal_episodes=12,
        )
        return PPORunner(world, policy, bandit_reward, settings, rng_seed=RNG_SEED), policy

    (straight, policy), (first, _), (second, other) = trainer(), trainer(), trainer()
    straight.learn(4)
    first.learn(2)
    second.load_state_dict(deepcopy(first.state_dict()))
    assert 0 < second.state_dict()["ppo"]["rate_scale"] < 1
    second.learn(4)
    assert torch.equal(weights(policy), weights(other))
    assert second.state_dict()["ppo"]["rate_scale"] == straight.state_dict()["ppo"]["rate_scale"]


def test_more_minibatches_than_environments_are_refused(world, policy, rollout):
    refused = r"ppo\.minibatches is 7 and there are 6 environments; .* at most as many"
    with pytest.raises(SimicError, match=refused):
        PPORunner(world, policy, bandit_reward, config(minibatches=7))
    with pytest.raises(SimicError, match=refused):
        updater(policy, minibatches=7).update(rollout, round_number=1)


def test_the_order_of_environments_changes_only_the_minibatches(policy, rollout):
    """Six minibatches of one environment each, dealt in another order."""
    learner, moved = (updater(policy, minibatches=6, learning_rate=1e-9) for _ in range(2))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    one = learner.update(rollout, round_number=1)
    other = moved.update(permuted(rollout, order), round_number=1)
    assert other.value_loss == pytest.approx(one.value_loss, rel=1e-4)
    assert other.policy_loss == pytest.approx(one.policy_loss, abs=1e-5)


@pytest.mark.parametrize(
    ("episodes", "rate"), [(0, 1e-3), (50, 7.5e-4), (100, 5e-4), (200, 0.0), (900, 0.0)]
)
def test_the_learning_rate_falls_by_episodes(policy, rollout, episodes, rate):
    learner = updater(
        policy, learning_rate=1e-3, learning_rate_final=0.0, learning_rate_anneal_episodes=200
    )
    learner.episodes = episodes
    before = weights(learner._policy).clone()
    event = learner.update(rollout, round_number=1)
    moved = (weights(learner._policy) - before).abs().max().item()
    assert event.learning_rate == pytest.approx(rate)
    # Adam's first step is as long as the learning rate wherever the gradient is not tiny.
    assert moved == pytest.approx(rate, rel=0.05)


def test_without_a_final_rate_it_stays(policy):
    learner = updater(policy, learning_rate=1e-3, learning_rate_anneal_episodes=10)
    learner.episodes = 500
    assert learner.learning_rate == 1e-3
