"""What an update tells of itself, against small computations by hand."""

from __future__ import annotations

import math

import pytest
import torch

from esper_leyline import HEADS, Observation, Op, PolicyEvaluation
from esper_simic import Units
from esper_simic.ppo.batch import Baselines, Batch
from esper_simic.ppo.metrics import (
    GradientNorms,
    Report,
    describe_batch,
    describe_evaluation,
    describe_gradients,
    describe_pass,
    gradient_norms,
)
from esper_simic.ppo.objective import Terms

UNITS = Units(mean=1.0, std=2.0, critic_scale=3.0, reward_scale=10.0)
"""A critic that says q means (2 q + 1) * 3 in reward units."""

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


def a_report() -> Report:
    return Report(round=3, learning_rate=0.1, entropy_coefficient=0.2)


def a_batch(open_ops, *, returns=None, valid=((True, True), (True, False))) -> Batch:
    """Two steps of two environments, the second of which is over after one."""
    of_heads = torch.zeros(2, 2, len(HEADS))
    return Batch(
        observation=Observation(
            features=torch.zeros(2, 2, 1),
            blueprints=torch.zeros(2, 2, 1, dtype=torch.int64),
            masks={"op": open_ops},
        ),
        actions=of_heads.long(),
        starts=torch.zeros(2, 2, dtype=torch.bool),
        valid=torch.tensor(valid),
        decided=torch.tensor(valid),
        choosable=of_heads.bool(),
        advantages=of_heads,
        returns=torch.zeros(2, 2) if returns is None else returns,
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


def q_told(*open_at_times):
    """Tells Q where an op is open at the given (step, environment)s, Q there being given too."""
    q_values = torch.full((3, 2, len(Op)), 77.0)
    open_ops = torch.zeros(2, 2, len(Op), dtype=torch.bool)
    open_ops[1, 1] = True
    q_values[1, 1] = math.nan
    for op, step, environment, value in open_at_times:
        open_ops[step, environment, op] = True
        q_values[step, environment, op] = value
    report = a_report()
    describe_evaluation(report, an_evaluation(q_values), a_batch(open_ops), UNITS)
    return report.payload()


def test_q_of_each_op_by_hand():
    """Over the steps in which it was open and the episode went on, in reward units."""
    told = q_told(
        (Op.WAIT, 0, 0, 1.0),
        (Op.WAIT, 0, 1, 2.0),
        (Op.WAIT, 1, 0, 6.0),
        (Op.GERMINATE, 0, 1, 0.0),
        (Op.PRUNE, 0, 0, -1.0),
        (Op.PRUNE, 1, 0, 1.0),
    )
    assert [q.op for q in told.q_values] == [op.name for op in Op]
    by_op = {Op[q.op]: (q.mean, q.variance, q.valid_steps) for q in told.q_values}
    # 9, 15 and 39 around 21; a single 3; -3 and 9 around 3.
    assert by_op.pop(Op.WAIT) == (pytest.approx(21.0), pytest.approx(168.0), 3)
    assert by_op.pop(Op.GERMINATE) == (pytest.approx(3.0), pytest.approx(0.0), 1)
    assert by_op.pop(Op.PRUNE) == (pytest.approx(3.0), pytest.approx(36.0), 2)
    assert set(by_op.values()) == {(None, None, 0)}
    assert told.q_spread == pytest.approx(18.0)


def test_there_is_no_spread_of_one_op():
    told = q_told((Op.WAIT, 0, 0, 1.0))
    assert told.q_values[Op.WAIT].mean == pytest.approx(9.0)
    assert told.q_spread is None
    assert q_told((Op.WAIT, 0, 0, 1.0), (Op.PRUNE, 0, 0, 1.0)).q_spread == 0.0


def test_the_memory_is_measured_by_environment():
    told = q_told((Op.WAIT, 0, 0, 1.0))
    assert (told.lstm_hidden_norm, told.lstm_cell_norm) == (3.0, 5.0)


def test_what_was_never_measured_is_null():
    told = a_report().payload()
    assert {name: getattr(told, name) for name in NUMBERS} == dict.fromkeys(NUMBERS)
    assert told.head_entropy == told.head_gradient_norm == told.head_kl == dict.fromkeys(HEADS)
    assert told.q_values == ()
    assert (told.learning_rate, told.entropy_coefficient) == (0.1, 0.2)


def test_returns_and_advantages_by_hand():
    """In reward units; what lies under the padding is not read."""
    returns = torch.tensor([[1.0, 3.0], [5.0, math.nan]])
    value = torch.tensor([[0.0, 3.0], [1.0, math.nan], [9.0, 9.0]])
    taken = torch.tensor([[1.0, 3.0], [2.0, math.nan]])
    report, batch = a_report(), a_batch(EVERY_OP, returns=returns)
    seen = Baselines(value=value, q_taken=taken, choosable=batch.choosable)
    describe_batch(report, batch, seen, UNITS)
    told = report.payload()
    assert told.return_mean == pytest.approx(30.0)
    assert told.return_std == pytest.approx(10 * math.sqrt(8 / 3))
    # Over V: 1, 0 and 4. Over Q, which explains: 0, 0 and 3.
    assert told.advantage_mean == pytest.approx(50 / 3)
    assert told.advantage_std == pytest.approx(10 * math.sqrt(26) / 3)
    assert told.explained_variance == pytest.approx(1 - 2 / (8 / 3))


def test_a_constant_return_is_explained_by_nobody():
    report, batch = a_report(), a_batch(EVERY_OP)
    seen = Baselines(value=torch.zeros(3, 2), q_taken=torch.zeros(2, 2), choosable=batch.choosable)
    describe_batch(report, batch, seen, UNITS)
    assert report.payload().explained_variance is None


def terms(**facts) -> Terms:
    names = ("loss", "policy", "value", "clipped", "ratio_min", "ratio_max")
    numbers = {name: torch.tensor(float(index)) for index, name in enumerate(names)}
    entropy = torch.arange(len(HEADS)) / 10
    kl = torch.zeros(len(HEADS))
    kl[1], kl[4] = 0.25, 0.5
    return Terms(**numbers | {"entropy": entropy, "kl": kl} | facts)


def test_a_pass_by_hand():
    report = a_report()
    counts = torch.zeros(len(HEADS), dtype=torch.int64)
    counts[1], counts[4] = 30, 10
    describe_pass(report, terms(), counts)
    told = report.payload()
    chosen = {HEADS[1]: pytest.approx(0.1), HEADS[4]: pytest.approx(0.4)}
    assert told.head_entropy == dict.fromkeys(HEADS) | chosen
    assert told.entropy == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)
    assert (told.policy_loss, told.value_loss, told.kl, told.clip_fraction) == (1, 2, 0.75, 3)
    assert (told.ratio_min, told.ratio_max) == (4, 5)
    assert told.head_kl == dict.fromkeys(HEADS) | {HEADS[1]: 0.25, HEADS[4]: 0.5}


def test_a_pass_in_which_nothing_was_chosen_tells_of_the_critic_alone():
    report = a_report()
    describe_pass(report, terms(), torch.zeros(len(HEADS), dtype=torch.int64))
    told = report.payload()
    assert told.value_loss == 2
    actor = ("policy_loss", "entropy", "kl", "clip_fraction", "ratio_min", "ratio_max")
    assert {getattr(told, name) for name in actor} == {None}


def test_gradient_norms_are_those_of_the_last_pass_and_what_was_kept_is_a_mean():
    report = a_report()
    for total in (5.0, 7.0):
        describe_gradients(report, GradientNorms(total=total, heads={"op": total / 2}))
    report.kept += [1.0, 0.5]
    told = report.payload()
    assert (told.gradient_norm, told.head_gradient_norm["op"]) == (7.0, 3.5)
    assert told.head_gradient_norm["slot"] is None
    assert told.gradient_kept == 0.75


def test_gradient_norms_by_hand(policy):
    given = {"policy.heads.op.weight": 3.0, "policy.heads.op.bias": 4.0, "critic.output.bias": 12.0}
    parameters = dict(policy.named_parameters())
    policy.zero_grad()
    for name, gradient in given.items():
        parameters[name].grad = torch.zeros_like(parameters[name])
        parameters[name].grad.view(-1)[0] = gradient
    found = gradient_norms(policy)
    assert found.total == pytest.approx(13.0)
    assert found.heads == {"op": pytest.approx(5.0)}
    policy.zero_grad()
    assert gradient_norms(policy) == GradientNorms(total=0.0, heads={})
