from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import HEADS, PPOConfig
from esper_simic import PPOTrainer, PPOUpdater, SimicError
from esper_simic.ppo.minibatches import Lesson, share_out
from esper_simic.ppo.objective import Told, Weights, count_steps, join, ppo_terms

from .playing import config, permuted, weights
from .toy_environments import PuzzleEnvironment, bandit_reward, small_policy


def updater(policy, **ppo):
    facts = {"epochs": 1, "learning_rate": 3e-3, "target_kl": None} | ppo
    return PPOUpdater(deepcopy(policy), PPOConfig(**facts))


def recorded(learner):
    """Makes an updater keep every step's terms."""
    seen, accumulate = [], learner._accumulate

    def keeping(part, counts, *, noting):
        terms = accumulate(part, counts, noting=noting)
        seen.append((part.environments, terms))
        return terms

    learner._accumulate = keeping
    return seen


@given(st.integers(1, 40), st.data())
def test_every_environment_is_in_one_share(environments, data):
    shares = data.draw(st.integers(1, environments))
    dealt = share_out(environments, shares, draw=(1, 2))
    sizes = [len(share) for share in dealt]
    assert sorted(torch.cat(dealt).tolist()) == list(range(environments))
    assert len(dealt) == shares
    assert max(sizes) - min(sizes) <= 1


def test_the_deal_changes_with_round_and_pass_and_is_otherwise_the_same():
    orders = [torch.cat(share_out(30, 3, draw=draw)).tolist() for draw in [(1, 0), (1, 1), (2, 0)]]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert torch.cat(share_out(30, 3, draw=(1, 0))).tolist() == orders[0]


@pytest.mark.parametrize("chunk_length", [None, 2])
def test_a_pass_makes_one_step_a_minibatch_and_the_first_has_ratio_one(
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


def test_more_steps_a_pass_move_further(policy, rollout):
    one, three = updater(policy), updater(policy, minibatches=3)
    kl = [learner.update(rollout, round_number=1).kl for learner in (one, three)]
    assert kl[0] == 0.0
    assert kl[1] > 0.0


def test_minibatches_that_make_no_step_add_up_to_the_whole(policy, rollout):
    """Terms told of a pass are means over its steps, however unequal the minibatches are."""
    learner = updater(policy)
    lessons = []
    learner._passes = lambda lesson, report: lessons.append(lesson)
    learner.update(rollout, round_number=1)
    (lesson,) = lessons
    lesson.evaluation = None
    whole = _told(policy, lesson)
    parts = [_told(policy, lesson.of(torch.tensor(of))) for of in ([4], [0, 1, 2], [3, 5])]
    joined = join(parts)
    for name in ("policy", "value", "entropy", "kl", "clipped", "ratio_min", "ratio_max"):
        one, other = getattr(joined.terms, name), getattr(whole.terms, name)
        assert torch.allclose(one, other, atol=1e-6), name
    assert torch.equal(joined.counts.choosable, whole.counts.choosable)


def _told(policy, lesson: Lesson) -> Told:
    batch = lesson.batch
    counts = count_steps(batch.valid, batch.decided, batch.choosable)
    state = policy.initial_state(lesson.environments)
    with torch.no_grad():
        evaluation = policy.evaluate(batch.observation, batch.actions, state, batch.starts)
    wanted = Weights(clip=0.2, value=0.5, entropy=torch.full((len(HEADS),), 0.05))
    terms = ppo_terms(evaluation, lesson.piece(0, lesson.steps), counts, wanted)
    return Told(terms=terms, counts=counts)


def test_the_rate_is_adapted_within_a_pass(policy, rollout):
    learner = updater(policy, epochs=1, minibatches=6, target_kl=1e-9)
    event = learner.update(rollout, round_number=1)
    # The first of the six steps starts at the policy that acted, whose KL is 0.
    assert event.learning_rate == pytest.approx(3e-3 / 1.5**5)
    assert event.passes == 1
    assert event.skipped is None


def test_a_head_without_a_choice_in_one_minibatch_is_not_told_as_collapsed(policy, rollout):
    told = []
    for minibatches in (1, 6):
        learner = updater(policy, minibatches=minibatches, learning_rate=1e-9)
        told.append(learner.update(rollout, round_number=1).head_entropy["slot"])
    assert told[1] == pytest.approx(told[0], rel=1e-4)


def test_a_run_with_minibatches_is_resumed_bit_for_bit():
    def trainer():
        world = PuzzleEnvironment(environments=4, length=3, open_steps=2)
        policy = small_policy(world, floor=0.1)
        settings = config(
            world,
            minibatches=2,
            target_kl=1e-4,
            learning_rate_final=1e-3,
            learning_rate_anneal_episodes=16,
            entropy_final=0.001,
            entropy_anneal_episodes=12,
        )
        return PPOTrainer(world, policy, bandit_reward, settings), policy

    (straight, policy), (first, _), (second, other) = trainer(), trainer(), trainer()
    straight.run(4)
    first.run(2)
    second.load_state_dict(deepcopy(first.state_dict()))
    assert 0 < second.state_dict()["updater"]["rate_scale"] < 1
    second.run(4)
    assert torch.equal(weights(policy), weights(other))
    assert (
        second.state_dict()["updater"]["rate_scale"]
        == straight.state_dict()["updater"]["rate_scale"]
    )


def test_more_minibatches_than_environments_are_refused(world, policy, rollout):
    refused = r"ppo\.minibatches is 7 and there are 6 environments; .* at most as many"
    with pytest.raises(SimicError, match=refused):
        PPOTrainer(world, policy, bandit_reward, config(world, minibatches=7))
    with pytest.raises(SimicError, match=refused):
        updater(policy, minibatches=7).update(rollout, round_number=1)


def test_the_order_of_environments_within_a_rollout_only_changes_who_meets_whom(policy, rollout):
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
