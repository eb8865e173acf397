"""The metrics of an update, against small computations by hand."""

from __future__ import annotations

import math

import pytest
import torch

from esper_leyline import HEADS, Observation, Op, PolicyEvaluation
from esper_simic import ReturnScale
from esper_simic.ppo.batch import Minibatch, UpdateBatch
from esper_simic.ppo.metrics import (
    critic_metrics,
    gradient_metrics,
    loss_metrics,
    ppo_update,
    return_metrics,
)
from esper_simic.ppo.objective import LossStats

SCALE = ReturnScale(mean=1.0, std=2.0, critic_scale=3.0, reward_scale=10.0)
"""A critic's output q means (2 q + 1) * 3 in reward units."""

NUMBERS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "gradient_norm",
    "gradient_kept",
    "kl",
    "clip_fraction",
    "ratio_min",
    "ratio_max",
    "explained_variance",
    "advantage_mean",
    "advantage_std",
    "return_mean",
    "return_std",
    "lstm_hidden_norm",
    "lstm_cell_norm",
    "q_spread",
)


EVERY_OP = torch.ones(2, 2, len(Op), dtype=torch.bool)


def event(**metrics):
    always = {"learning_rate": 0.1, "entropy_coefficient": 0.2, "seconds": {}}
    return ppo_update(HEADS, always | metrics)


def a_batch(open_ops=EVERY_OP, *, returns=None, values=None, q_taken=None) -> UpdateBatch:
    """Two steps of two environments; the episode of the second is over after one."""
    of_heads, of_steps = torch.zeros(2, 2, len(HEADS)), torch.zeros(2, 2)
    valid = torch.tensor(((True, True), (True, False)))
    whole = Minibatch(
        observation=Observation(
            features=torch.zeros(2, 2, 1),
            blueprints=torch.zeros(2, 2, 1, dtype=torch.int64),
            masks={"op": open_ops},
        ),
        actions=of_heads.long(),
        starts=valid,
        state=(of_steps, of_steps),
        valid=valid,
        decided=valid,
        choosable=of_heads.bool(),
        advantages=of_heads,
        targets=of_steps,
        old_log_probs=of_heads,
        old_distributions=of_heads.unsqueeze(-1),
        valid_count=valid.sum(),
        decided_count=valid.sum(),
        choosable_count=of_heads.long().sum(dim=(0, 1)),
    )
    return UpdateBatch(
        whole=whole,
        values=torch.zeros(3, 2) if values is None else values,
        q_taken=of_steps if q_taken is None else q_taken,
        returns=of_steps if returns is None else returns,
    )


def an_evaluation(q_values) -> PolicyEvaluation:
    of_heads, of_steps = torch.zeros(3, 2, len(HEADS)), torch.zeros(3, 2)
    return PolicyEvaluation(
        log_probs=of_heads,
        log_distributions=of_heads.unsqueeze(-1),
        entropies=of_heads,
        choosable=of_heads.bool(),
        q_values=q_values,
        value=of_steps,
        state=(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), torch.tensor([[[6.0, 8.0], [0.0, 0.0]]])),
    )


def critic_event(*open_at_times):
    """Metrics where an op is open at the given (op, step, environment, Q)."""
    q_values = torch.full((3, 2, len(Op)), 77.0)
    open_ops = torch.zeros(2, 2, len(Op), dtype=torch.bool)
    open_ops[1, 1] = True
    q_values[1, 1] = math.nan
    for op, step, environment, value in open_at_times:
        open_ops[step, environment, op] = True
        q_values[step, environment, op] = value
    names = [op.name for op in Op]
    metrics = critic_metrics(
        an_evaluation(q_values), a_batch(open_ops), SCALE, first_head="op", choices=names
    )
    return event(**metrics)


def test_q_of_each_op_by_hand():
    """Over the steps at which it was open and the episode was running, in reward units."""
    found = critic_event(
        (Op.WAIT, 0, 0, 1.0),
        (Op.WAIT, 0, 1, 2.0),
        (Op.WAIT, 1, 0, 6.0),
        (Op.GERMINATE, 0, 1, 0.0),
        (Op.PRUNE, 0, 0, -1.0),
        (Op.PRUNE, 1, 0, 1.0),
    )
    assert [q.op for q in found.q_values] == [op.name for op in Op]
    by_op = {Op[q.op]: (q.mean, q.variance, q.valid_steps) for q in found.q_values}
    # 9, 15 and 39 around 21; a single 3; -3 and 9 around 3.
    assert by_op.pop(Op.WAIT) == (pytest.approx(21.0), pytest.approx(168.0), 3)
    assert by_op.pop(Op.GERMINATE) == (pytest.approx(3.0), pytest.approx(0.0), 1)
    assert by_op.pop(Op.PRUNE) == (pytest.approx(3.0), pytest.approx(36.0), 2)
    assert set(by_op.values()) == {(None, None, 0)}
    assert found.q_spread == pytest.approx(18.0)


def test_one_op_has_no_spread():
    found = critic_event((Op.WAIT, 0, 0, 1.0))
    assert found.q_values[Op.WAIT].mean == pytest.approx(9.0)
    assert found.q_spread is None
    assert critic_event((Op.WAIT, 0, 0, 1.0), (Op.PRUNE, 0, 0, 1.0)).q_spread == 0.0


def test_the_memory_is_measured_by_environment():
    found = critic_event((Op.WAIT, 0, 0, 1.0))
    assert (found.lstm_hidden_norm, found.lstm_cell_norm) == (3.0, 5.0)


def test_unmeasured_metrics_are_none():
    found = event()
    assert {name: getattr(found, name) for name in NUMBERS} == dict.fromkeys(NUMBERS)
    assert found.head_entropy == found.head_gradient_norm == found.head_kl == dict.fromkeys(HEADS)
    assert (found.q_values, found.passes, found.skipped) == ((), 0, None)
    assert (found.learning_rate, found.entropy_coefficient) == (0.1, 0.2)


def test_returns_and_advantages_by_hand():
    """In reward units; what lies under the padding is not read."""
    returns = torch.tensor([[1.0, 3.0], [5.0, math.nan]])
    values = torch.tensor([[0.0, 3.0], [1.0, math.nan], [9.0, 9.0]])
    q_taken = torch.tensor([[1.0, 3.0], [2.0, math.nan]])
    batch = a_batch(returns=returns, values=values, q_taken=q_taken)
    found = event(**return_metrics(batch, SCALE))
    assert found.return_mean == pytest.approx(30.0)
    assert found.return_std == pytest.approx(10 * math.sqrt(8 / 3))
    # Over V: 1, 0 and 4. Over Q, which explains: 0, 0 and 3.
    assert found.advantage_mean == pytest.approx(50 / 3)
    assert found.advantage_std == pytest.approx(10 * math.sqrt(26) / 3)
    assert found.explained_variance == pytest.approx(1 - 2 / (8 / 3))


def test_the_explained_variance_of_a_constant_return_is_undefined():
    assert event(**return_metrics(a_batch(), SCALE)).explained_variance is None


def stats(counts) -> LossStats:
    names = ("loss", "policy", "value", "clipped", "ratio_min", "ratio_max")
    numbers = {name: torch.tensor(float(index)) for index, name in enumerate(names)}
    kl = torch.zeros(len(HEADS))
    kl[1], kl[4] = 0.25, 0.5
    return LossStats(
        **numbers,
        entropy=torch.arange(len(HEADS)) / 10,
        kl=kl,
        valid_count=torch.tensor(40),
        decided_count=torch.tensor(40),
        choosable_count=counts,
    )


def test_a_pass_by_hand():
    counts = torch.zeros(len(HEADS), dtype=torch.int64)
    counts[1], counts[4] = 30, 10
    found = event(**loss_metrics(HEADS, stats(counts)))
    chosen = {HEADS[1]: pytest.approx(0.1), HEADS[4]: pytest.approx(0.4)}
    assert found.head_entropy == dict.fromkeys(HEADS) | chosen
    assert found.entropy == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)
    assert (found.policy_loss, found.value_loss, found.kl, found.clip_fraction) == (1, 2, 0.75, 3)
    assert (found.ratio_min, found.ratio_max) == (4, 5)
    assert found.head_kl == dict.fromkeys(HEADS) | {HEADS[1]: 0.25, HEADS[4]: 0.5}


def test_a_pass_without_decisions_measures_the_critic_alone():
    found = event(**loss_metrics(HEADS, stats(torch.zeros(len(HEADS), dtype=torch.int64))))
    assert found.value_loss == 2
    actor = ("policy_loss", "entropy", "kl", "clip_fraction", "ratio_min", "ratio_max")
    assert {getattr(found, name) for name in actor} == {None}


def test_gradient_norms_by_hand(policy):
    gradients = {
        "policy.heads.op.weight": 3.0,
        "policy.heads.op.bias": 4.0,
        "critic.output.bias": 12.0,
    }
    parameters = dict(policy.named_parameters())
    policy.zero_grad()
    for name, gradient in gradients.items():
        parameters[name].grad = torch.zeros_like(parameters[name])
        parameters[name].grad.view(-1)[0] = gradient
    found = gradient_metrics(policy)
    assert found["gradient_norm"] == pytest.approx(13.0)
    assert found["head_gradient_norm"] == {"op": pytest.approx(5.0)}
    policy.zero_grad()
    assert gradient_metrics(policy) == {"gradient_norm": 0.0, "head_gradient_norm": {}}
