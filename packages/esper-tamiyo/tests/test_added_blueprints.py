"""Policies and controllers treat blueprints that a plugin adds like the built-in ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from esper_leyline import BUILT_IN_BLUEPRINTS, Blueprint, Op, SeedReport
from esper_tamiyo import HeuristicController, RandomMaskedController, TamiyoError

ADDED = (Blueprint.NORM, "mine", "other")


def empty_host(report):
    """Returns the report with slots in which a seed may germinate."""
    seeds = [SeedReport(slot=seed.slot, permitted=(Op.GERMINATE,)) for seed in report.seeds]
    return replace(report, seeds=tuple(seeds))


def test_the_head_and_the_embedding_have_one_more_row_for_each(policies, specs):
    plain, wider = policies(specs()), policies(specs(blueprints=ADDED))
    built_in = len(BUILT_IN_BLUEPRINTS)
    assert plain.policy.heads["blueprint"].out_features == built_in
    assert wider.policy.heads["blueprint"].out_features == built_in + 2
    assert plain.blueprints.num_embeddings == built_in + 1
    assert wider.blueprints.num_embeddings == built_in + 3


def test_added_blueprints_come_after_the_index_of_an_empty_slot(policies, specs, rich, seeded):
    spec = specs(blueprints=ADDED)
    report = seeded(seeded(rich(spec), 0, blueprint="mine"), 1, blueprint="other")
    report = seeded(report, 2, blueprint=None)
    encoded = policies(spec).encode([report])
    empty = len(BUILT_IN_BLUEPRINTS)
    assert encoded.blueprints.tolist() == [[empty + 1, empty + 2, empty]]


def test_a_policy_chooses_added_blueprints_where_the_task_allows_them(policies, specs, rich):
    spec = specs(blueprints=("mine", "other"))
    policy = policies(spec)
    observation = policy.encode([empty_host(rich(spec))] * 64)
    decision = policy.act(
        observation, policy.initial_state(64), generator=torch.Generator().manual_seed(0)
    )
    actions = policy.decode(decision.actions)
    germinated = {action.blueprint for action in actions if action.op is Op.GERMINATE}
    assert germinated == {"mine", "other"}
    assert [list(action.indices(spec.blueprint_choices)) for action in actions] == (
        decision.actions.tolist()
    )


@pytest.mark.parametrize("controller", [HeuristicController, RandomMaskedController])
def test_controllers_by_rule_choose_added_blueprints(controller, specs, rich):
    spec = specs(blueprints=("mine",))
    deciding = controller(spec)
    deciding.reset(1)
    late = replace(empty_host(rich(spec)), epoch=spec.max_epochs // 2)
    chosen = [deciding.decide(late) for _ in range(20)]
    assert {each.blueprint for each in chosen if each.op is Op.GERMINATE} == {"mine"}


def test_a_blueprint_that_the_policy_was_not_built_for_is_named(policies, specs, rich, seeded):
    spec = specs()
    with pytest.raises(TamiyoError, match="blueprint 'mine' in slot r0c1; this encoder was"):
        policies(spec).encode([seeded(rich(spec), 1, blueprint="mine")])
