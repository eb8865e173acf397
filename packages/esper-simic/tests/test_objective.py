"""PPO's loss and its targets, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from esper_leyline import HEADS, Observation, Op, PolicyEvaluation, PPOConfig
from esper_simic import ReturnScale, Rollout
from esper_simic.ppo.batch import Minibatch, make_batch
from esper_simic.ppo.objective import ppo_loss

OP, SLOT, STYLE = (HEADS.index(head) for head in ("op", "slot", "style"))


def by_head(*entries, shape):
    """Returns [*shape, heads] of junk, but for entries of (step, environment, head, value)."""
    values = torch.full((*shape, len(HEADS)), 9.0)
    for step, environment, head, value in entries:
        values[step, environment, head] = value
    return values


def an_evaluation(q_values, **facts) -> PolicyEvaluation:
    shape = q_values.shape[:2]
    junk = by_head(shape=shape)
    distributions = torch.full((*junk.shape, 2), math.log(0.5))
    facts = {
        "log_probs": junk,
        "log_distributions": distributions,
        "entropies": junk,
        "value": torch.zeros(shape),
    } | facts
    choosable = facts.pop("choosable", junk > 0)
    state = (torch.zeros(shape[1], 1), torch.zeros(shape[1], 1))
    return PolicyEvaluation(q_values=q_values, choosable=choosable, state=state, **facts)


def odds(probability):
    """Log-probabilities of two choices."""
    return torch.tensor([probability, 1 - probability]).log()


@pytest.fixture
def step():
    """One step of two hosts: one germinates in a slot that it chose, one waits."""
    choosable = torch.zeros(1, 2, len(HEADS), dtype=torch.bool)
    choosable[0, 0, [OP, SLOT]] = choosable[0, 1, OP] = True
    new = ((0, 0, OP, math.log(0.6)), (0, 0, SLOT, math.log(0.2)), (0, 1, OP, math.log(0.5)))
    old = ((0, 0, OP, math.log(0.4)), (0, 0, SLOT, math.log(0.4)), (0, 1, OP, math.log(0.5)))
    q_values = torch.zeros(1, 2, len(Op))
    q_values[0, 0] = torch.tensor([7.0, 3.0, 7.0, 7.0, 7.0, 7.0])
    q_values[0, 1] = torch.tensor([2.0, 7.0, 7.0, 7.0, 7.0, 7.0])
    before = torch.full((1, 2, len(HEADS), 2), math.log(0.5))
    after = before.clone()
    # A host that waits reads no slot, so that what the slot's logits do there does not count.
    after[0, 0, OP], after[0, 0, SLOT], after[0, 1, SLOT] = odds(0.6), odds(0.2), odds(0.01)
    evaluation = an_evaluation(
        q_values.requires_grad_(),
        log_distributions=after,
        log_probs=by_head(*new, shape=(1, 2)),
        entropies=by_head((0, 0, OP, 0.5), (0, 0, SLOT, 0.25), (0, 1, OP, 1.0), shape=(1, 2)),
    )
    actions = torch.zeros(1, 2, len(HEADS), dtype=torch.int64)
    actions[0, :, OP] = torch.tensor([Op.GERMINATE, Op.WAIT])
    true = torch.ones(1, 2, dtype=torch.bool)
    minibatch = Minibatch(
        observation=no_observation(1, 2),
        actions=actions,
        starts=true,
        state=(torch.zeros(2, 1), torch.zeros(2, 1)),
        old_log_probs=by_head(*old, shape=(1, 2)) - 5 * ~choosable,
        old_distributions=before,
        advantages=by_head((0, 0, OP, 2.0), (0, 0, SLOT, 1.0), (0, 1, OP, -1.0), shape=(1, 2)),
        targets=torch.tensor([[1.0, 2.0]]),
        valid=true,
        decided=true,
        choosable=choosable,
        valid_count=true.sum(),
        decided_count=true.sum(),
        choosable_count=choosable.sum(dim=(0, 1)),
    )
    entropy = torch.full((len(HEADS),), 50.0)
    entropy[OP], entropy[SLOT] = 0.1, 0.2
    return evaluation, ppo_loss(
        evaluation, minibatch, clip=0.2, value_coefficient=0.25, entropy_coefficients=entropy
    )


def test_the_objective_by_hand(step):
    """Ratios 1.5, 0.5 and 1 at advantages 2, 1 and -1, over two decisions."""
    _, stats = step
    policy, value, bonus = -(1.2 * 2 + 0.5 * 1 - 1) / 2, 0.5 * (2**2 + 0) / 2, 0.2 / 2
    assert stats.policy.item() == pytest.approx(policy)
    assert stats.value.item() == pytest.approx(value)
    assert stats.loss.item() == pytest.approx(policy + 0.25 * value - bonus)


def test_the_statistics_by_hand(step):
    _, stats = step
    moved = {head: -0.5 * math.log(4 * p * (1 - p)) for head, p in ((OP, 0.6), (SLOT, 0.2))}
    assert stats.kl[OP].item() == pytest.approx(moved[OP] / 2, rel=1e-4)
    assert stats.kl[SLOT].item() == pytest.approx(moved[SLOT] / 2, rel=1e-4)
    assert stats.kl.sum() == stats.kl[OP] + stats.kl[SLOT]
    assert stats.clipped.item() == pytest.approx(2 / 3)
    assert (stats.ratio_min.item(), stats.ratio_max.item()) == pytest.approx((0.5, 1.5))
    assert stats.entropy[OP].item() == pytest.approx(0.75)
    assert stats.entropy[SLOT].item() == pytest.approx(0.25)
    assert stats.entropy[STYLE].item() == 0.0


def test_only_q_of_the_taken_op_has_a_gradient(step):
    evaluation, stats = step
    (gradient,) = torch.autograd.grad(stats.loss, evaluation.q_values)
    assert gradient.nonzero().tolist() == [[0, 0, Op.GERMINATE]]
    assert gradient[0, 0, Op.GERMINATE].item() == pytest.approx(0.25 * (3 - 1) / 2)


def no_observation(steps, environments) -> Observation:
    return Observation(
        features=torch.zeros(steps, environments, 1),
        blueprints=torch.zeros(steps, environments, 1, dtype=torch.int64),
        masks={"op": torch.ones(steps, environments, len(Op), dtype=torch.bool)},
    )


def a_rollout(ops, rewards) -> Rollout:
    """One host's whole episode, one step for each reward."""
    steps = len(ops)
    actions = torch.zeros(steps, 1, len(HEADS), dtype=torch.int64)
    actions[:, 0, 0] = torch.tensor(ops)
    false = torch.zeros(steps, 1, dtype=torch.bool)
    starts, truncated = false.clone(), false.clone()
    starts[0] = truncated[-1] = True
    return Rollout(
        observation=no_observation(steps + 1, 1),
        actions=actions,
        rewards=torch.tensor(rewards).unsqueeze(1),
        valid=~false,
        starts=starts,
        terminated=false,
        truncated=truncated,
        state=(torch.zeros(1, 1), torch.zeros(1, 1)),
    )


def test_the_baseline_of_the_op_is_v_and_of_other_heads_q():
    """The critic's output x means (2 x + 1) * 3 in rewards, x + 0.5 in rewards scaled by 6."""
    scale = ReturnScale(mean=1.0, std=2.0, critic_scale=3.0, reward_scale=6.0)
    rollout = a_rollout([Op.GERMINATE, Op.WAIT], [6.0, 12.0])
    q_values = torch.full((3, 1, len(Op)), 40.0)
    q_values[0, 0, Op.GERMINATE], q_values[1, 0, Op.WAIT] = 2.5, 0.5
    choosable = torch.zeros(3, 1, len(HEADS), dtype=torch.bool)
    choosable[..., [OP, SLOT]] = True
    evaluation = an_evaluation(
        q_values, value=torch.tensor([[0.0], [-0.25], [8.5]]), choosable=choosable
    )
    batch = make_batch(rollout, evaluation, PPOConfig(gamma=0.9, gae_lambda=0.8), scale)
    assert batch.values.squeeze(1).tolist() == [0.5, 0.25, 9.0]
    assert batch.q_taken.squeeze(1).tolist() == [3.0, 1.0]
    last = 2.0 - 0.25
    first = 1.0 + 0.9 * 0.25 - 0.5 + 0.72 * last
    assert batch.returns.squeeze(1).tolist() == pytest.approx([first + 0.5, last + 0.25])
    # Over V the first step did better than the second; over Q the second did.
    advantages = batch.whole.advantages
    assert advantages[:, 0, OP].tolist() == pytest.approx([1.0, -1.0])
    assert advantages[:, 0, SLOT].tolist() == pytest.approx([-1.0, 1.0])
    assert batch.whole.choosable[:, 0].any(dim=0).nonzero().flatten().tolist() == [OP, SLOT]


def test_a_step_without_a_choice_is_no_decision():
    rollout = a_rollout([Op.GERMINATE, Op.WAIT], [1.0, 1.0])
    scale = ReturnScale(mean=0.0, std=1.0, critic_scale=1.0, reward_scale=1.0)
    choosable = torch.ones(3, 1, len(HEADS), dtype=torch.bool)
    choosable[1] = False
    evaluation = an_evaluation(torch.zeros(3, 1, len(Op)), choosable=choosable)
    whole = make_batch(rollout, evaluation, PPOConfig(), scale).whole
    assert whole.decided.squeeze(1).tolist() == [True, False]
    assert whole.valid.squeeze(1).tolist() == [True, True]
    assert not whole.choosable[1].any()
