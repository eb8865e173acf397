from __future__ import annotations

import pytest
import torch

from esper_leyline import HEADS, Op, PPOConfig
from esper_simic import PPO, PolicyActor, RolloutStorage, SimicError

from .rollout_helpers import play
from .toy_environments import PuzzleEnvironment, bandit_reward, small_policy


@pytest.fixture(scope="module")
def world():
    return PuzzleEnvironment(environments=3, length=4, open_steps=2, fail_at={1: 2})


@pytest.fixture(scope="module")
def rollout(world):
    return play(world, small_policy(world), bandit_reward)


def test_a_rollout_has_the_documented_shapes(rollout):
    assert (rollout.steps, rollout.environments) == (4, 3)
    assert rollout.observation.features.shape[:2] == (5, 3)
    assert rollout.actions.shape == (4, 3, len(HEADS))
    for name in ("rewards", "valid", "starts", "terminated", "truncated"):
        assert getattr(rollout, name).shape == (4, 3), name


def test_episodes_of_different_length(rollout):
    assert rollout.valid.T.tolist() == [[True] * 4, [True, True, False, False], [True] * 4]
    assert rollout.truncated[:, 0].tolist() == [False, False, False, True]
    assert rollout.terminated[:, 1].tolist() == [False, True, False, False]
    assert not rollout.terminated[:, 0].any()
    assert not rollout.truncated[:, 1].any()
    assert rollout.episodes == 3
    assert rollout.starts.tolist() == [[True] * 3, *[[False] * 3] * 3]


def test_rewards_are_those_of_the_actions_taken(rollout):
    germinated = rollout.actions[..., 0] == int(Op.GERMINATE)
    assert torch.equal(rollout.rewards, (germinated & rollout.valid).float())


def test_features_after_the_end_are_zero(rollout):
    features = rollout.observation.features
    assert features[2:, 1].abs().sum() == 0
    assert features[4, 0].abs().sum() > 0


def test_the_same_seed_gives_the_same_actions_and_another_gives_others(world):
    policy = small_policy(world)
    first, again, other = (play(world, policy, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)


def test_a_rollout_without_steps_is_refused(world):
    policy = small_policy(world)
    with pytest.raises(SimicError, match="at least one step"):
        PPO(policy, PPOConfig()).rollout()
    storage = RolloutStorage(policy.initial_state(3))
    with pytest.raises(SimicError, match="at least one step"):
        storage.build(policy.encode(world.reset([1, 2, 3])))


def test_calls_in_the_wrong_order_are_refused(world):
    policy = small_policy(world)
    ppo = PPO(policy, PPOConfig())
    observation = policy.encode(world.reset([1, 2, 3]))
    with pytest.raises(SimicError, match=r"act was called before PPO\.reset"):
        ppo.act(observation)
    over = {name: [False] * 3 for name in ("valid", "terminated", "truncated")}
    with pytest.raises(SimicError, match=r"observe was called before PPO\.act"):
        ppo.observe([0.0] * 3, observation, **over)


def test_an_actor_step_has_probabilities_and_values(world):
    policy = small_policy(world)
    actor = PolicyActor(PPO(policy, PPOConfig()), policy, rng_seed=0)
    actor.reset([1, 2, 3])
    step = actor.act(world.reset([1, 2, 3]))[0]
    assert step.forced
    assert set(step.heads) == {"op"}
    assert step.heads["op"].probabilities == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert step.heads["op"].valid == (True, False, False, False, False, False)
    assert len(step.q_values) == len(Op)
    assert step.value == pytest.approx(step.q_values[0])
