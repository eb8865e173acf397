"""``GradientObserver`` measures gradients wherever a loop clears them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from esper_kasmina import (
    SLOT_KEY,
    ActivationSpec,
    GradientObserver,
    KasminaError,
    Schedule,
    SeedSlot,
    graft,
    grow,
    measure_gradients,
    parameter_groups,
    sync_optimizer,
)
from esper_leyline import Advance, Blueprint, Germinate, LifecycleRules, SeedStage

INPUTS = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
LABELS = (INPUTS[:, 0] * INPUTS[:, 1] > 0).long()
SHORT = Schedule(training=1, blending=1, holding=1, min_contribution=-200.0)


class Net(nn.Module):
    def __init__(self, rules: LifecycleRules | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(6, 8)
        self.slot = SeedSlot("r0c0", ActivationSpec.features(8), rules=rules)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.slot(self.stem(inputs).relu()))


def loss_of(model):
    return cross_entropy(model(INPUTS), LABELS)


def before(model, optimizer):
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()


def after(model, optimizer, *, none=True):
    loss_of(model).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=none)


def after_zeros(model, optimizer):
    after(model, optimizer, none=False)


def accumulated(model, optimizer):
    for _ in range(4):
        (loss_of(model) / 4).backward()
    optimizer.step()
    optimizer.zero_grad()


def closure(model, optimizer):
    def compute():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    optimizer.step(compute)
    optimizer.zero_grad()


def scaled(model, optimizer):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    scaler.scale(loss_of(model)).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def functional(model, optimizer):
    parameters = dict(model.named_parameters())
    loss = cross_entropy(torch.func.functional_call(model, parameters, (INPUTS,)), LABELS)
    used = [p for p in parameters.values() if p.requires_grad]
    gradients = torch.autograd.grad(loss, used, allow_unused=True, create_graph=True)
    for parameter, gradient in zip(used, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.detach()
    optimizer.step()
    optimizer.zero_grad()


LOOPS = (before, after, after_zeros, accumulated, closure, scaled, functional)


@torch.no_grad()
def accuracy(model):
    return 100.0 * (model(INPUTS).argmax(1) == LABELS).float().mean().item()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_seed_grows_in_loops_that_clear_gradients_anywhere(loop):
    model = Net()
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    growth = grow(
        *(model, "r0c0", Blueprint.NORM, optimizer),
        lambda m: loop(m, optimizer),
        accuracy,
        schedule=SHORT,
    )
    assert growth.fossilized, growth.reason
    assert growth.epochs == 3


def training(rules=None):
    model = Net(rules)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    model.slot.apply_command(Germinate(blueprint=Blueprint.LORA))
    model.slot.apply_command(Advance())
    nn.init.constant_(model.slot.seed.scale, 0.5)
    sync_optimizer(optimizer, model)
    return model, optimizer


@pytest.mark.parametrize("loop", LOOPS)
def test_the_measured_gradients_are_those_of_the_step(loop):
    model, optimizer = training()
    expected = {}

    def look(*_):
        expected["seed"] = measure_gradients(model.slot.seed.parameters())
        expected["host"] = measure_gradients(parameter_groups(model)[0]["params"])

    with GradientObserver(optimizer, model) as observed:
        if loop is closure:
            optimizer.register_step_post_hook(look)
        else:
            optimizer.register_step_pre_hook(look)
        loop(model, optimizer)
    report = model.slot.report()
    assert observed.missing == ()
    assert report.gradient_norm == pytest.approx(expected["seed"].norm)
    assert 0.0 < report.gradient_norm < 100.0
    evidence = model.slot._record.history.evidence
    ratio = expected["seed"].per_root / expected["host"].per_root
    assert evidence.gradient_ratio == pytest.approx(ratio)


def test_without_a_step_the_gradients_at_the_end_are_measured():
    model, optimizer = training()
    with GradientObserver(optimizer, model):
        loss_of(model).backward()
    assert model.slot.report().gradient_norm > 0


def test_a_step_that_the_scaler_skips_is_not_measured_and_not_missing():
    model, optimizer = training()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    with GradientObserver(optimizer, model) as observed:
        scaler.scale(1e30 * loss_of(model)).backward()
        scaler.step(optimizer)
        optimizer.zero_grad()
    assert observed.missing == ()
    assert model.slot.report().gradient_norm is None


def test_gradients_that_were_not_measured_are_not_reported_as_infinite():
    model, optimizer = training()
    after(model, optimizer)
    model.slot.record_gradients()
    model.slot.tick()
    result = model.slot.apply_command(Advance())
    assert "gradients_measured" in result.reason
    assert "finite" not in result.reason


def test_an_observer_removes_its_hooks():
    model, optimizer = training()
    with pytest.raises(ZeroDivisionError), GradientObserver(optimizer, model):
        raise ZeroDivisionError
    assert not optimizer._optimizer_step_post_hooks
    hooks = [p._post_accumulate_grad_hooks for p in model.slot.seed.parameters()]
    assert not any(hooks)


def refused(model, train, evaluate=accuracy):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with pytest.raises(KasminaError) as caught:
        grow(
            *(model, "r0c0", Blueprint.NORM, optimizer),
            lambda m: train(m, optimizer),
            evaluate,
            schedule=SHORT,
        )
    assert "\n" not in str(caught.value)
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None]
    return str(caught.value)


def test_a_train_that_does_not_run_the_given_model_is_an_error():
    model, other = Net(), Net()
    message = refused(model, lambda _, optimizer: after(other, optimizer))
    assert "no gradient reached the seed in slot 'r0c0'" in message
    assert "train has to run the model that it is given" in message
    assert model.slot.stage is SeedStage.DORMANT


def test_a_slot_that_is_never_run_is_an_error():
    class Unused(Net):
        def forward(self, inputs):
            return self.head(self.stem(inputs).relu())

    message = refused(Unused(), after)
    assert "evaluate(model) does not run the slot either" in message


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.block, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.block.requires_grad_(requires_grad=False)
        self.reentrant = reentrant

    def forward(self, inputs):
        return self.head(checkpoint(self.block, inputs, use_reentrant=self.reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_reentrant_checkpointing_of_a_frozen_block_is_an_error():
    model = graft(Checkpointed(reentrant=True), {"r0c0": "block"}, example_inputs=INPUTS)
    assert "use_reentrant=False" in refused(model, after)


def test_a_seed_grows_under_non_reentrant_checkpointing_of_a_frozen_block():
    model = graft(Checkpointed(reentrant=False), {"r0c0": "block"}, example_inputs=INPUTS)
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    growth = grow(
        *(model, "r0c0", Blueprint.NORM, optimizer),
        lambda m: after(m, optimizer),
        accuracy,
        schedule=SHORT,
    )
    assert growth.fossilized
