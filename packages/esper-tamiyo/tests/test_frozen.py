from __future__ import annotations

import pytest
import torch

from esper_leyline import FactoredAction, Op
from esper_tamiyo import PolicyController, TamiyoError


def live(garden, controller, seed: int) -> list[FactoredAction]:
    controller.reset(seed)
    report, actions = garden.report(), []
    while report.ended is None:
        actions.append(controller.decide(report))
        report = garden.step(actions[-1])
    assert all(transition.accepted for transition in garden.transitions)
    return actions


def test_it_samples_like_the_policy(specs, policies, gardens, rolled):
    spec = specs(max_epochs=12)
    policy = policies(spec)
    actions = live(gardens(spec), PolicyController(policy), seed=3)
    generator = torch.Generator().manual_seed(3)
    rows = [
        decision.actions[0].tolist()
        for _, _, decision in rolled(policy, [gardens(spec)], 12, generator)
    ]
    assert [list(action.indices()) for action in actions] == rows
    assert {action.op for action in actions} != {Op.WAIT}


def test_samples_follow_from_the_seed(specs, policies, gardens):
    spec = specs(max_epochs=12)
    controller = PolicyController(policies(spec))
    first = live(gardens(spec), controller, seed=1)
    assert live(gardens(spec), controller, seed=2) != first
    assert live(gardens(spec), controller, seed=1) == first


def test_greedy_takes_the_most_probable_whatever_the_seed(specs, policies, gardens):
    spec = specs(max_epochs=12)
    policy = policies(spec)
    controller = PolicyController(policy, greedy=True)
    first = live(gardens(spec), controller, seed=1)
    assert live(gardens(spec), controller, seed=2) == first
    observation = policy.encode([gardens(spec).report()])
    decision = policy.act(
        observation, policy.initial_state(1), generator=torch.Generator(), greedy=True
    )
    assert first[0] == FactoredAction.from_indices(decision.actions[0].tolist())


def test_two_controllers_share_a_policy_but_no_state(specs, policies, gardens):
    spec = specs(max_epochs=8)
    policy = policies(spec)
    alone = live(gardens(spec), PolicyController(policy), seed=5)
    one, other = PolicyController(policy), PolicyController(policy)
    one.reset(5)
    other.reset(6)
    garden, beside, actions = gardens(spec), gardens(spec), []
    for _ in range(8):
        actions.append(one.decide(garden.report()))
        beside.step(other.decide(beside.report()))
        garden.step(actions[-1])
    assert actions == alone


def test_the_policy_does_not_change(specs, policies, gardens):
    spec = specs(max_epochs=8)
    policy = policies(spec)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    live(gardens(spec), PolicyController(policy), seed=0)
    after = policy.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_report_of_other_slots_is_refused(specs, policies, gardens):
    controller = PolicyController(policies(specs(3)))
    with pytest.raises(TamiyoError):
        controller.decide(gardens(specs(2)).report())
