from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_simic import discounted_sums, gae, lambda_returns

GAMMA, LAM = 0.9, 0.8


def column(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype).unsqueeze(1)


def flags(*values):
    return column(*values, dtype=torch.bool)


def run(rewards, values, *, terminal, last, valid, gamma=GAMMA, lam=LAM):
    return gae(rewards, values, terminal=terminal, last=last, valid=valid, gamma=gamma, lam=lam)


def test_a_whole_episode_by_hand():
    ends = flags(0, 0, 1)
    out = run(
        column(1.0, 2.0, 3.0),
        column(0.5, 0.4, 0.3, 99.0),
        terminal=ends,
        last=ends,
        valid=flags(1, 1, 1),
    )
    third = 3.0 - 0.3
    second = 2.0 + 0.9 * 0.3 - 0.4 + 0.72 * third
    first = 1.0 + 0.9 * 0.4 - 0.5 + 0.72 * second
    assert out.squeeze().tolist() == pytest.approx([first, second, third])


def test_steps_after_the_end_of_an_episode_are_not_read():
    ends = flags(0, 1, 0)
    kept = run(
        column(1.0, 2.0, 7.0),
        column(0.5, 0.4, 50.0, 60.0),
        terminal=ends,
        last=ends,
        valid=flags(1, 1, 0),
    )
    assert kept.squeeze().tolist() == pytest.approx([1 + 0.36 - 0.5 + 0.72 * 1.6, 1.6, 0.0])


def test_a_truncated_episode_is_bootstrapped_and_a_terminated_one_is_not():
    never, end = flags(0, 0), flags(0, 1)
    common = {"last": end, "valid": flags(1, 1)}
    rewards, values = column(1.0, 1.0), column(0.0, 0.0, 10.0)
    cut = run(rewards, values, terminal=never, **common)
    final = run(rewards, values, terminal=end, **common)
    assert cut[1].item() == pytest.approx(1 + 0.9 * 10)
    assert final[1].item() == pytest.approx(1.0)


def test_the_end_of_a_rollout_is_bootstrapped_with_v():
    never = flags(0, 0)
    out = run(
        column(1.0, 1.0), column(0.0, 0.0, 10.0), terminal=never, last=never, valid=flags(1, 1)
    )
    assert out.squeeze().tolist() == pytest.approx([1 + 0.72 * 10.0, 10.0])


def test_two_episodes_in_one_column_do_not_mix():
    ends = flags(0, 1, 0, 1)
    out = run(
        column(1.0, 1.0, 5.0, 5.0),
        column(0.0, 0.0, 0.0, 0.0, 0.0),
        terminal=ends,
        last=ends,
        valid=flags(1, 1, 1, 1),
    )
    assert out.squeeze().tolist() == pytest.approx([1.72, 1.0, 5 + 0.72 * 5, 5.0])


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**31))
def test_advantages_are_the_weighted_sum_of_their_definition(steps, environments, seed):
    random = torch.Generator().manual_seed(seed)
    rewards = torch.randn(steps, environments, generator=random, dtype=torch.float64)
    values = torch.randn(steps + 1, environments, generator=random, dtype=torch.float64)
    lengths = torch.randint(1, steps + 1, (environments,), generator=random)
    index = torch.arange(steps).unsqueeze(1)
    valid, last = index < lengths, index == lengths - 1
    out = run(rewards, values, terminal=last, last=last, valid=valid)
    for n, length in enumerate(lengths.tolist()):
        v = [*values[:length, n].tolist(), 0.0]
        deltas = [rewards[t, n].item() + GAMMA * v[t + 1] - v[t] for t in range(length)]
        expected = [
            sum((GAMMA * LAM) ** (k - t) * deltas[k] for k in range(t, length))
            for t in range(length)
        ]
        assert out[:length, n].tolist() == pytest.approx(expected)
        assert out[length:, n].abs().sum() == 0


def test_lambda_one_gives_the_discounted_return_and_lambda_zero_the_one_step_target():
    ends, valid = flags(0, 0, 1), flags(1, 1, 1)
    rewards, values = column(1.0, 2.0, 4.0), column(0.3, 0.2, 0.1, 0.0)
    facts = {"terminal": ends, "last": ends, "valid": valid}
    whole = lambda_returns(run(rewards, values, lam=1.0, **facts), values)
    assert whole.squeeze().tolist() == pytest.approx([1 + 1.8 + 0.81 * 4, 2 + 3.6, 4.0])
    short = lambda_returns(run(rewards, values, lam=0.0, **facts), values)
    assert short.squeeze().tolist() == pytest.approx([1 + 0.18, 2 + 0.09, 4.0])


def test_discounted_sums_by_hand():
    out = discounted_sums(column(1.0, 2.0, 3.0), flags(1, 1, 0), 0.5)
    assert out.squeeze().tolist() == [1.0, 2.5, 0.0]
