"""What hosts and seeds compute, epoch by epoch, on hosts that really live."""

from __future__ import annotations

import pytest

from esper_kasmina import build_host
from esper_leyline import (
    BlendStyle,
    Blueprint,
    FactoredAction,
    LifecycleRules,
    Op,
    SeedReport,
    SeedStage,
    TrainingConfig,
    override,
)
from esper_leyline.actions import ALPHA_SPEED_TICKS, FULL_ALPHA_TARGET
from esper_tolaria import build_environment, find_task
from esper_train.evaluation.scratch import flop_counter

CONV_SMALL = 2 * 16 * 16 * 20
GERMINATE = FactoredAction(
    op=Op.GERMINATE, blueprint=Blueprint.CONV_SMALL, alpha_target=FULL_ALPHA_TARGET
)
ADVANCE, WAIT = FactoredAction(op=Op.ADVANCE), FactoredAction()
PRUNE = FactoredAction(op=Op.PRUNE)
FADE = FactoredAction(op=Op.PRUNE, alpha_speed=ALPHA_SPEED_TICKS.index(3))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    task = find_task("mnist1d_blind").spec
    changes = {
        "task": task.name,
        "n_envs": 1,
        "max_epochs": 20,
        "data_root": str(tmp_path_factory.mktemp("data")),
        "lifecycle": LifecycleRules(min_prune_age=1).model_dump(mode="json"),
        "host": {**task.training.model_dump(mode="json"), "max_batches": 1},
    }
    config = override(TrainingConfig(), changes)
    environment = build_environment(task, config, build_host, "cpu")
    yield environment, flop_counter(task, config)
    environment.close()


def seed_epochs(world, actions: list[FactoredAction]) -> list[int]:
    """How many conv_small seeds in the first slot each epoch trained, by the counter."""
    environment, flops = world
    (report,) = environment.reset([7])
    trained = []
    for action in actions:
        before = report
        (report,) = environment.step([action])
        assert report.action_succeeded, report.rejection
        beyond = flops.epoch(before, report) / (3 * flops.rows) - flops.host
        trained.append(int(beyond / CONV_SMALL))
        assert beyond % CONV_SMALL == 0
    return trained


def test_a_seed_is_counted_from_training_to_its_end(world) -> None:
    actions = [WAIT, GERMINATE, WAIT, ADVANCE, WAIT, PRUNE, WAIT]
    assert seed_epochs(world, actions) == [0, 0, 0, 1, 1, 0, 0]


def test_a_seed_that_fades_is_counted_while_it_does(world) -> None:
    actions = [GERMINATE, ADVANCE, ADVANCE, WAIT, WAIT, FADE, WAIT, WAIT, WAIT]
    assert seed_epochs(world, actions) == [0, 1, 1, 1, 1, 1, 1, 1, 0]


def test_a_seed_in_isolation_costs_no_flops_of_the_network(world) -> None:
    environment, flops = world
    environment.reset([7])
    costs = []
    for action in (GERMINATE, ADVANCE, ADVANCE):
        (report,) = environment.step([action])
        costs.append((report.seeds[0].stage, flops.forward(report) - flops.host))
    assert costs == [
        (SeedStage.GERMINATED, 0),
        (SeedStage.TRAINING, 0),
        (SeedStage.BLENDING, CONV_SMALL),
    ]


def test_validation_counts_what_counterfactuals_do_not_share(world) -> None:
    """By hand: the first block once, the seed once, and all after it with and without it."""
    environment, flops = world
    first, after = 2 * 16 * 40, 2 * (16 * 16 * 20 + 16 * 16 * 10 + 16 * 10)
    (report,) = environment.reset([7])
    costs = []
    for action in (WAIT, GERMINATE, ADVANCE, ADVANCE, WAIT):
        before = report
        (report,) = environment.step([action])
        costs.append(flops.validation(before, report))
    rows = find_task("mnist1d_blind").spec.data.validation_size
    assert flops.host == first + after
    assert costs[0] == costs[1] == costs[2] == rows * (first + after)
    assert costs[-1] == rows * (first + CONV_SMALL + 2 * after)


def test_a_gate_costs_something(world) -> None:
    _, flops = world
    plain, gated = (
        flops.seed(SeedReport(slot="r0c0", blueprint=Blueprint.CONV_SMALL, style=style))
        for style in (BlendStyle.LINEAR_ADD, BlendStyle.GATED_GATE)
    )
    assert plain == CONV_SMALL < gated
    assert flops.seed(SeedReport(slot="r0c0")) == 0


@pytest.mark.parametrize(
    ("name", "whole"), [("mnist1d_blind", 2000), ("digits", 1000), ("topics", None)]
)
def test_every_kind_of_host_can_be_counted(name: str, whole: int | None) -> None:
    task = find_task(name).spec
    config = TrainingConfig(task=name)
    flops = flop_counter(task, config)
    if whole is not None:
        assert flops.rows == whole
    assert flops.host > 0
    for blueprint in task.blueprints:
        for style in task.styles:
            cost = flops.seed(SeedReport(slot=task.slots[0], blueprint=blueprint, style=style))
            # A norm works element by element, which is not counted; its gate is.
            gated = style is BlendStyle.GATED_GATE
            assert (cost > 0) == (gated or blueprint != Blueprint.NORM)
