"""What each head of the policy does by itself: its own logits, floor and noise."""

from __future__ import annotations

import pytest
import torch

from esper_leyline import HEADS, RELEVANT_HEADS, Observation, Op, PolicyConfig, head_sizes
from esper_tamiyo import RecurrentPolicy

SLOTS = 3
SIZES = head_sizes(SLOTS)
ARGUMENTS = HEADS[1:]
FLOORS = {name: 0.02 * (number + 1) for number, name in enumerate(HEADS)}
"""Of every head another one."""


@pytest.fixture
def policy(specs):
    torch.manual_seed(0)
    config = PolicyConfig(feature_size=16, memory_size=16, floors=FLOORS)
    return RecurrentPolicy(specs(SLOTS), config)


def wide_open(policy, rows):
    """An observation like no other, in which everything may be chosen."""
    size = policy.normalizer.mean.shape[0]
    masks = {name: torch.ones(rows, width, dtype=torch.bool) for name, width in SIZES.items()}
    masks["slot"] = torch.ones(rows, len(Op), SLOTS, dtype=torch.bool)
    return Observation(
        features=torch.rand(1, size).expand(rows, size),
        blueprints=torch.zeros(rows, SLOTS, dtype=torch.int64),
        masks=masks,
    )


def insist(policy, name, index, logit=60.0):
    """Makes a head choose an index, whatever it sees."""
    with torch.no_grad():
        policy.policy.heads[name].weight.zero_()
        policy.policy.heads[name].bias.zero_()
        policy.policy.heads[name].bias[index] = logit


def decided(policy, observation, *, greedy=True):
    state = policy.initial_state(observation.features.shape[0])
    generator = torch.Generator().manual_seed(1)
    return policy.act(observation, state, generator=generator, greedy=greedy)


def op_that_reads(name):
    return next(op for op in Op if name in RELEVANT_HEADS[op])


@pytest.mark.parametrize("name", HEADS)
def test_each_choice_has_its_share_of_the_floor_of_its_head(policy, name):
    for head in HEADS:
        insist(policy, head, op_that_reads(name) if head == "op" else 1)
    observation = wide_open(policy, 1)
    decision = decided(policy, observation)
    share = FLOORS[name] / SIZES[name]
    chosen = int(decision.actions[0, HEADS.index(name)])
    expected = torch.full((SIZES[name],), share)
    expected[chosen] = 1 - FLOORS[name] + share
    assert torch.allclose(decision.probabilities[name][0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_heads_own_layer_moves_its_own_choices(policy, name):
    insist(policy, "op", op_that_reads(name))
    observation = wide_open(policy, 1)
    before = decided(policy, observation).probabilities
    for index in range(SIZES[name]):
        insist(policy, name, index)
        after = decided(policy, observation)
        assert after.actions[0, HEADS.index(name)] == index
        for other in set(HEADS) - {name}:
            assert torch.equal(after.probabilities[other], before[other])


def test_op_arguments_are_sampled_separately_from_the_op(policy):
    """One draw for both would let the op that came up choose the slot of its own number."""
    for head in HEADS:
        insist(policy, head, 0, logit=0.0)
    rows = 12_000
    actions = decided(policy, wide_open(policy, rows), greedy=False).actions
    slots = actions[actions[:, 0] == Op.GERMINATE, HEADS.index("slot")]
    assert len(slots) > rows / len(Op) / 2
    shares = torch.bincount(slots, minlength=SLOTS) / len(slots)
    assert (shares - 1 / SLOTS).abs().max() < 0.06


def test_the_policy_sees_standardised_features(policy, rich, specs):
    spec = specs(SLOTS)
    observation = policy.encode([rich(spec)])
    raw = decided(policy, observation)
    seen = Observation(
        features=torch.stack([observation.features * scale for scale in (0.5, 1.0, 2.0)]),
        blueprints=observation.blueprints.expand(3, 1, SLOTS),
        masks={},
    )
    policy.update_normalizer(seen, torch.ones(3, 1, dtype=torch.bool))
    standardised = decided(policy, observation)
    assert not torch.equal(raw.q_values, standardised.q_values)
    by_hand = Observation(
        features=policy.normalizer(observation.features),
        blueprints=observation.blueprints,
        masks=observation.masks,
    )
    policy.normalizer.shift.zero_()
    policy.normalizer.scale.fill_(1.0)
    assert torch.allclose(decided(policy, by_hand).q_values, standardised.q_values, atol=1e-6)
