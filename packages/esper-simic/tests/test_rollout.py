from __future__ import annotations

import pytest
import torch

from esper_leyline import HEADS, Op
from esper_simic import PolicyActor, RolloutBuffer, SimicError
from esper_simic.rollout.storage import AT_HORIZON, BY_GOVERNOR

from .playing import PLAIN_UNITS, play
from .toy_environments import PuzzleEnvironment, bandit_reward, small_policy


@pytest.fixture(scope="module")
def world():
    return PuzzleEnvironment(environments=3, length=4, open_steps=2, fail_at={1: 2})


@pytest.fixture(scope="module")
def rollout(world):
    return play(world, small_policy(world), bandit_reward)


def test_shapes(rollout):
    assert (rollout.steps, rollout.environments) == (4, 3)
    assert rollout.observation.features.shape[:2] == (5, 3)
    assert rollout.actions.shape == rollout.log_probs.shape == (4, 3, len(HEADS))
    for name in ("rewards", "valid", "forced", "starts", "ended", "value", "q_taken"):
        assert getattr(rollout, name).shape == (4, 3), name


def test_episodes_of_different_length(rollout):
    assert rollout.valid.T.tolist() == [[True] * 4, [True, True, False, False], [True] * 4]
    assert rollout.ended[:, 0].tolist() == [0, 0, 0, AT_HORIZON]
    assert rollout.ended[:, 1].tolist() == [0, BY_GOVERNOR, 0, 0]
    assert rollout.starts.tolist() == [[True] * 3, *[[False] * 3] * 3]


def test_steps_at_which_only_waiting_was_possible_are_forced(rollout):
    assert rollout.forced[:2].all()
    assert not rollout.forced[2:, 0].any()


def test_rewards_are_those_of_the_actions_taken(rollout):
    germinated = rollout.actions[..., 0] == int(Op.GERMINATE)
    assert torch.equal(rollout.rewards, (germinated & rollout.valid).float())


def test_what_follows_an_end_is_not_there_to_be_read(rollout):
    features = rollout.observation.features
    assert features[2:, 1].abs().sum() == 0
    assert features[4, 0].abs().sum() > 0


def test_the_same_seed_gives_the_same_actions_and_another_gives_others(world):
    policy = small_policy(world)
    first, again, other = (play(world, policy, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.actions, other.actions)


def test_a_rollout_without_steps_is_refused(world):
    with pytest.raises(SimicError, match="at least one step"):
        PolicyActor(small_policy(world), PLAIN_UNITS, rng_seed=0).rollout()
    policy = small_policy(world)
    with pytest.raises(SimicError, match="at least one step"):
        RolloutBuffer().build(policy.encode(world.reset([1, 2, 3])))


def test_choosing_before_a_round_is_refused(world):
    actor = PolicyActor(small_policy(world), PLAIN_UNITS, rng_seed=0)
    with pytest.raises(SimicError, match="before a round"):
        actor.choose(world.reset([1, 2, 3]))


def test_a_choice_tells_what_could_be_chosen(world):
    policy = small_policy(world)
    actor = PolicyActor(policy, PLAIN_UNITS, rng_seed=0)
    actor.reset([1, 2, 3])
    choice = actor.choose(world.reset([1, 2, 3]))[0]
    assert choice.forced
    assert set(choice.heads) == {"op"}
    assert choice.heads["op"].probabilities == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert choice.heads["op"].valid == (True, False, False, False, False, False)
    assert len(choice.q_values) == len(Op)
    assert choice.value == pytest.approx(choice.q_values[0])
