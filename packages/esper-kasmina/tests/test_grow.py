"""``grow``: all stages of one seed in a user's training loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from esper_kasmina import (
    SLOT_KEY,
    ActivationSpec,
    KasminaError,
    Schedule,
    SeedSlot,
    grow,
    harvest,
    parameter_groups,
)
from esper_leyline import Blueprint, Germinate, LifecycleRules, SeedStage

SIGNALS, LABELS = torch.zeros(128, 1, 16), torch.arange(128) % 2
for row in range(128):
    position = (row * 7) % 15
    SIGNALS[row, 0, position] = 1.0 - 2.0 * LABELS[row]
    SIGNALS[row, 0, position + 1] = 2.0 * LABELS[row] - 1.0


class Blind(nn.Module):
    """Sees single points, so it cannot tell a rising edge from a falling one."""

    def __init__(self, rules: LifecycleRules | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 8, 1)
        self.slot = SeedSlot("r0c0", ActivationSpec.maps(8, dimensions=1), rules=rules)
        self.head = nn.Linear(8, 2)

    def forward(self, signals):
        return self.head(self.slot(self.stem(signals).relu()).mean(2))


class Loop:
    """A training loop as anyone has one."""

    def __init__(self, model: nn.Module, batches: int = 15) -> None:
        self.optimizer = torch.optim.Adam(parameter_groups(model), lr=0.02)
        self.batches = batches

    def train(self, model: nn.Module) -> None:
        model.train()
        for _ in range(self.batches):
            self.optimizer.zero_grad()
            cross_entropy(model(SIGNALS), LABELS).backward()
            self.optimizer.step()

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> float:
        model.eval()
        return 100.0 * (model(SIGNALS).argmax(1) == LABELS).float().mean().item()


def grown(model, loop, blueprint=Blueprint.CONV_LIGHT, **options):
    return grow(
        *(model, "r0c0", blueprint, loop.optimizer),
        loop.train,
        loop.evaluate,
        **options,
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Blind()


def test_a_seed_that_helps_is_kept(model):
    loop = Loop(model)
    growth = grown(model, loop, schedule=Schedule(training=2, blending=2, holding=2))
    assert growth.fossilized
    assert growth.epochs == 6
    assert growth.score == loop.evaluate(model) > 90
    assert growth.contribution > 20
    assert growth.reason == f"contributes {growth.contribution:+.2f} points"
    assert growth.parameters == model.slot.seed.size
    assert [group.get(SLOT_KEY) for group in loop.optimizer.param_groups] == [None, "r0c0"]
    plain = harvest(model, example_inputs=SIGNALS)
    torch.testing.assert_close(plain(SIGNALS), model.eval()(SIGNALS))


def test_a_seed_that_does_not_help_enough_is_pruned(model):
    loop = Loop(model)
    loop.train(model)
    growth = grown(model, loop, schedule=Schedule(min_contribution=200.0))
    assert not growth.fossilized
    assert growth.reason == f"contributes {growth.contribution:+.2f} points, and had to exceed 200"
    assert growth.parameters == 0
    assert model.slot.stage is SeedStage.PRUNED
    assert growth.score == loop.evaluate(model)
    assert [group.get(SLOT_KEY) for group in loop.optimizer.param_groups] == [None]
    assert set(loop.optimizer.state) == set(model.parameters())


def test_the_reason_shows_a_small_contribution_with_two_digits(model):
    loop = Loop(model)
    growth = grow(
        *(model, "r0c0", Blueprint.CONV_LIGHT, loop.optimizer),
        loop.train,
        lambda model: 1e-6 * loop.evaluate(model),
        schedule=Schedule(training=2, blending=2, holding=2),
    )
    assert 0 < growth.contribution < 1e-4
    assert growth.reason == f"contributes {growth.contribution:+.2g} points"


def test_the_optimizer_state_of_other_parameters_does_not_change(model):
    loop = Loop(model, batches=0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    loop.optimizer.step()
    before = copy.deepcopy(list(loop.optimizer.state.values()))
    model.zero_grad()
    model.requires_grad_(requires_grad=False)

    def train_seed(trained):
        loop.optimizer.zero_grad()
        cross_entropy(trained(SIGNALS), LABELS).backward()
        loop.optimizer.step()

    grow(
        *(model, "r0c0", Blueprint.NORM, loop.optimizer),
        train=train_seed,
        evaluate=loop.evaluate,
        seed_options={"lr": 0.5},
    )
    after = [loop.optimizer.state[p] for p in parameter_groups(model)[0]["params"]]
    for one, other in zip(before, after, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_seed_options_are_used(model):
    loop = Loop(model, batches=1)
    keep = Schedule(training=1, holding=1, min_contribution=-100.0)
    grown(model, loop, schedule=keep, seed_options={"lr": 0.125})
    assert loop.optimizer.param_groups[1]["lr"] == 0.125


def test_a_seed_is_pruned_if_a_gate_refuses_it_too_long():
    torch.manual_seed(0)
    model = Blind(LifecycleRules(permissive_gates=False, g2_min_improvement=100.0))
    loop = Loop(model, batches=1)
    growth = grown(model, loop, schedule=Schedule(training=2, patience=3))
    assert not growth.fossilized
    assert growth.epochs == 5
    assert "gate g2 failed" in growth.reason


def test_an_unknown_slot_an_unfit_blueprint_and_an_occupied_slot_are_refused(model):
    loop = Loop(model)
    with pytest.raises(KasminaError, match="no slot 'r1c1'; there are: r0c0"):
        grow(
            *(model, "r1c1", Blueprint.NORM, loop.optimizer),
            train=loop.train,
            evaluate=loop.evaluate,
        )
    with pytest.raises(KasminaError, match="'r0c0' does not germinate: blueprint 'lora' does not"):
        grown(model, loop, Blueprint.LORA)
    model.slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    with pytest.raises(KasminaError, match="holds a norm seed that is GERMINATED"):
        grown(model, loop)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, torch.zeros(2), "good"])
def test_a_score_that_is_not_a_finite_number_is_refused_and_the_slot_is_empty(model, score):
    """NaN is not below any bound, so it must not pass for a contribution."""
    loop = Loop(model, batches=1)
    loop.evaluate = lambda _model: score
    with pytest.raises(KasminaError, match=r"evaluate returned .*; return one finite number"):
        grown(model, loop, schedule=Schedule(training=1, blending=1, holding=1))
    assert model.slot.stage is not SeedStage.FOSSILIZED


def test_a_score_may_be_a_tensor_of_one_number(model):
    loop = Loop(model, batches=1)
    loop.evaluate = lambda _model: torch.tensor(50.0)
    growth = grown(model, loop, schedule=Schedule(training=1, blending=1, holding=1))
    assert type(growth.score) is type(growth.contribution) is float


@pytest.mark.parametrize(
    "options", [{"training": 0}, {"blending": -1}, {"holding": 0}, {"patience": -1}]
)
def test_schedules_with_too_few_epochs_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(KasminaError, match=f"{name} is {value}; give at least"):
        Schedule(**options)


def test_a_min_contribution_of_nan_is_refused():
    with pytest.raises(KasminaError, match="min_contribution is nan"):
        Schedule(min_contribution=float("nan"))


@pytest.mark.parametrize(
    ("blueprint", "reason"),
    [
        ("NORM", r"unknown blueprint 'NORM' \(did you mean 'norm'\?\)"),
        ("mine", "unknown blueprint 'mine'; allowed: .*norm, .* call register_blueprint"),
        (3, "3 is not the name of a blueprint; allowed: .*norm"),
    ],
)
def test_an_unknown_blueprint_is_refused(model, blueprint, reason):
    with pytest.raises(KasminaError, match=reason):
        grown(model, Loop(model), blueprint)


def test_none_as_the_optimizer_leaves_the_slot_dormant(model):
    loop = Loop(model)
    loop.optimizer = None
    with pytest.raises(KasminaError, match="the optimizer is a NoneType"):
        grown(model, loop)
    assert model.slot.stage is SeedStage.DORMANT


@pytest.mark.parametrize("part", ["train", "evaluate"])
def test_a_function_that_cannot_be_called_leaves_the_slot_dormant(model, part):
    loop = Loop(model)
    setattr(loop, part, 3)
    with pytest.raises(KasminaError, match=f"^{part} is 3, which cannot be called; give a func"):
        grown(model, loop)
    assert model.slot.stage is SeedStage.DORMANT


def test_a_misspelt_option_leaves_the_slot_dormant(model):
    with pytest.raises(KasminaError, match=r"option of a Adam 'learning_rate'.*lr"):
        grown(model, Loop(model), seed_options={"learning_rate": 0.1})
    assert model.slot.stage is SeedStage.DORMANT
