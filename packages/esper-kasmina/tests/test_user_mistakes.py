"""Mistakes of new users get one line that says what to do."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from esper_kasmina import (
    ActivationSpec,
    GradientObserver,
    KasminaError,
    Schedule,
    SeedSlot,
    SlotSite,
    build_host,
    graft,
    grow,
    harvest,
    measure_gradients,
    parameter_groups,
    seed_slots,
    sync_optimizer,
)
from esper_leyline import Blueprint, Germinate, HostOptions, SeedStage

POINTS = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
LABELS = (POINTS.prod(dim=1) > 0).long()
SHORT = Schedule(training=1, blending=1, holding=1, min_contribution=-200.0)


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


class Loop:
    """The README's model and loop, smaller."""

    def __init__(self, optimizer=torch.optim.Adam) -> None:
        self.model = graft(make_net(), {"r0c0": "1"}, example_inputs=POINTS)
        self.optimizer = optimizer(parameter_groups(self.model), lr=0.01)

    @property
    def slot(self) -> SeedSlot:
        return self.model.slot("r0c0")

    def train(self, model):
        model.train()
        self.optimizer.zero_grad()
        cross_entropy(model(POINTS), LABELS).backward()
        self.optimizer.step()

    @torch.no_grad()
    def evaluate(self, model):
        return 100.0 * (model.eval()(POINTS).argmax(1) == LABELS).float().mean().item()

    def grow(self, **changes):
        arguments = {
            "model": self.model,
            "slot": "r0c0",
            "blueprint": Blueprint.MLP,
            "optimizer": self.optimizer,
            "train": self.train,
            "evaluate": self.evaluate,
            "schedule": SHORT,
        }
        return grow(**{**arguments, **changes})


@pytest.fixture
def loop():
    return Loop()


def assert_one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def fails(_model):
    raise ZeroDivisionError("of the user")


def interrupted(_model):
    raise KeyboardInterrupt


def returns_text(_model):
    return "good"


def untrained(_model):
    return None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"train": fails}, ZeroDivisionError),
        ({"train": interrupted}, KeyboardInterrupt),
        ({"evaluate": fails}, ZeroDivisionError),
        ({"evaluate": returns_text}, KasminaError),
        ({"train": untrained}, KasminaError),
    ],
    ids=["train", "interrupt", "evaluate", "score", "unreached"],
)
def test_after_an_error_in_the_loop_grow_can_be_called_again(loop, changes, kind):
    with pytest.raises(kind):
        loop.grow(**changes)
    assert loop.slot.stage is SeedStage.DORMANT
    assert len(loop.optimizer.param_groups) == 1
    assert loop.grow().fossilized


def test_a_slot_that_was_pruned_says_when_it_is_free(loop):
    assert not loop.grow(schedule=Schedule(training=1, holding=1, min_contribution=200)).fossilized
    with pytest.raises(KasminaError, match=r"r0c0' is PRUNED and free after 7 more epochs; .*tick"):
        loop.grow()
    for _ in range(7):
        loop.slot.tick()
    assert loop.grow().fossilized


def test_an_occupied_slot_says_what_it_holds(loop):
    loop.slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    with pytest.raises(KasminaError, match=r"holds a norm seed that is GERMINATED; prune it .*DO"):
        loop.grow()
    done = Loop()
    done.grow()
    with pytest.raises(KasminaError, match=r"holds a mlp seed that is FOSSILIZED; .*another slot"):
        done.grow()


@pytest.mark.parametrize("part", ["train", "evaluate"])
def test_a_function_that_does_not_take_the_model_is_refused(loop, part):
    with pytest.raises(KasminaError, match=f"^{part} does not take one argument.*; give a funct"):
        loop.grow(**{part: lambda: None})
    with pytest.raises(KasminaError, match=f"^{part} does not take one argument"):
        loop.grow(**{part: lambda model, data: None})
    assert loop.slot.stage is SeedStage.DORMANT


def test_a_train_that_is_a_generator_is_refused(loop):
    def train(model):
        yield model

    with pytest.raises(KasminaError, match="train returned a generator, so it has not run"):
        loop.grow(train=train)


def test_a_train_that_is_a_coroutine_is_refused(loop):
    async def train(model):
        del model

    with pytest.raises(KasminaError, match="train returned a coroutine, so it has not run"):
        loop.grow(train=train)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train": [(POINTS, LABELS)]}, "train is "),
        ({"train": torch.optim.SGD(make_net().parameters(), lr=0.1)}, "train is SGD"),
        ({"evaluate": lambda _model: POINTS}, "evaluate returned tensor"),
        ({"blueprint": POINTS}, "is not the name of a blueprint; allowed: norm"),
        ({"seed_options": [POINTS]}, "seed_options are "),
        ({"model": "r0c0"}, "the model is a str; give an instance of nn.Module"),
        ({"model": None}, "the model is a NoneType; give an instance of nn.Module"),
        ({"slot": POINTS}, "no slot tensor"),
        ({"schedule": {"training": 3}}, "the schedule is {'training': 3}; give Schedule"),
        ({"seed_options": {"lr": "fast"}}, "lr is 'fast'; give a number from 0"),
        ({"seed_options": {"lr": -1.0}}, "lr is -1.0; give a number from 0"),
        ({"seed_options": {"lr_scale": "half"}}, "lr_scale is 'half'; give a number from 0"),
        ({"seed_options": {"lr_scale": -0.5}}, "lr_scale is -0.5; give a number from 0"),
        ({"seed_options": {"lr_scale": float("nan")}}, "lr_scale is nan; give a number from 0"),
    ],
    ids=[
        *(
            "loader",
            "swapped",
            "tensor_score",
            "tensor_blueprint",
            "list_of_options",
            "swapped_model",
        ),
        *("no_model", "tensor_slot", "dict_schedule", "text_rate", "negative_rate", "text_scale"),
        *("negative_scale", "nan_scale"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused_in_one_short_line(loop, changes, reason):
    with pytest.raises(KasminaError, match=re.escape(reason)) as error:
        loop.grow(**changes)
    assert_one_line(error)
    assert loop.slot.stage is SeedStage.DORMANT
    assert len(loop.optimizer.param_groups) == 1


def test_an_optimizer_of_another_model_is_refused(loop):
    other = torch.optim.Adam(make_net().parameters(), lr=0.1)
    with pytest.raises(KasminaError, match=r"Adam trains no parameter of the model; .*parameter_g"):
        loop.grow(optimizer=other)
    assert len(other.param_groups) == 1
    loop.model.requires_grad_(False)
    seeds_only = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)
    loop.optimizer = seeds_only
    assert loop.grow().fossilized


def test_a_scheduler_of_another_optimizer_is_refused(loop):
    other = torch.optim.SGD(make_net().parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(other, 1)
    with pytest.raises(KasminaError, match="StepLR belongs to another optimizer"):
        loop.grow(scheduler=scheduler)
    with pytest.raises(KasminaError, match="StepLR belongs to another optimizer"):
        sync_optimizer(loop.optimizer, loop.model, scheduler=scheduler)
    assert loop.slot.stage is SeedStage.DORMANT


def test_an_optimizer_with_one_group_only_is_refused_before_a_seed_germinates(loop):
    single = torch.optim.LBFGS(loop.model.parameters())
    with pytest.raises(KasminaError, match=r"LBFGS takes one parameter group only"):
        loop.grow(optimizer=single)
    with pytest.raises(KasminaError, match=r"LBFGS takes one parameter group only"):
        sync_optimizer(single, loop.model)
    assert loop.slot.stage is SeedStage.DORMANT


def test_a_group_that_the_optimizer_refuses_leaves_the_slot_empty(loop):
    class Picky(torch.optim.SGD):
        def add_param_group(self, group):
            if getattr(self, "ready", False):
                raise ValueError("matrices only")
            super().add_param_group(group)

    picky = Picky(loop.model.parameters(), lr=0.1)
    picky.ready = True
    with pytest.raises(KasminaError, match=r"Picky does not take the seed .*: matrices only"):
        loop.grow(optimizer=picky)
    assert loop.slot.stage is SeedStage.DORMANT


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"training": 1.5}, "training is 1.5; give a whole number"),
        ({"holding": "3"}, "holding is '3'; give a whole number"),
        ({"min_contribution": None}, "min_contribution is None; give a number"),
        ({"min_contribution": "0"}, "min_contribution is '0'; give a number"),
        ({"style": "linear_add"}, "style is 'linear_add'; give a BlendStyle, such as"),
        ({"style": 1}, "style is 1; give a BlendStyle"),
    ],
    ids=str,
)
def test_schedules_with_values_of_the_wrong_type_are_refused(options, reason):
    with pytest.raises(KasminaError, match=re.escape(reason)):
        Schedule(**options)


def test_min_contribution_may_be_a_whole_number():
    assert Schedule(min_contribution=1).min_contribution == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: graft(None, {"r0c0": "0"}),
        lambda: graft(nn.ReLU, {"r0c0": "0"}),
        lambda: seed_slots(None),
        lambda: parameter_groups([make_net()]),
        lambda: harvest(None),
        lambda: GradientObserver(torch.optim.SGD(make_net().parameters(), lr=0.1), None),
    ],
    ids=["graft", "a class", "seed_slots", "parameter_groups", "harvest", "observer"],
)
def test_an_object_that_is_not_a_model_is_refused(call):
    with pytest.raises(KasminaError, match=r"the model is a .*; give an instance of nn.Module"):
        call()


def test_further_arguments_of_the_wrong_type_are_refused(loop):
    optimizer = loop.optimizer
    for slots in ([loop.model], "r0c0", [None]):
        with pytest.raises(KasminaError, match="give the model, or its SeedSlots"):
            sync_optimizer(optimizer, slots)
    with pytest.raises(KasminaError, match="seed_options are 3; give a mapping"):
        parameter_groups(loop.model, 3)
    with pytest.raises(KasminaError, match="the optimizer is a NoneType"):
        GradientObserver(None, loop.model)
    with pytest.raises(KasminaError, match="max_seeds is '2'; allow at least 1"):
        graft(make_net(), {"r0c0": "1"}, max_seeds="2")
    with pytest.raises(KasminaError, match=r"give parameters, such as model.parameters\(\)"):
        measure_gradients(None)
    with pytest.raises(KasminaError, match=r"the spec is 'cifar10'; give .*CNNHostSpec"):
        build_host("cifar10", HostOptions(slots=("r0c0",), rng_seed=1))
    with pytest.raises(KasminaError, match="accuracy is '90'; give a number"):
        loop.slot.record_validation("90")


@pytest.mark.parametrize("channels", ["8", 8.5, None])
def test_channels_that_are_not_a_number_are_refused(channels):
    with pytest.raises(KasminaError, match=re.escape(f"{channels!r} channels")):
        ActivationSpec.features(channels)


@pytest.mark.parametrize("name", ["slot0", 0, None])
def test_an_invalid_slot_id_is_refused(name):
    with pytest.raises(KasminaError, match="is not a slot id; write r<row>c<col>"):
        SeedSlot(name)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tempo": -1}, "tempo is -1; give a whole number from 0"),
        ({"tempo": 1.5}, "tempo is 1.5; give a whole number from 0"),
        ({"alpha_target": 7.0}, "alpha_target is 7.0; give a number between 0 and 1"),
        ({"alpha_target": float("nan")}, "alpha_target is nan; give a number between 0 and 1"),
        ({"style": "gate"}, "style is 'gate'; give a BlendStyle: LINEAR_ADD, "),
    ],
    ids=str,
)
def test_a_command_with_invalid_values_is_refused(loop, options, reason):
    result = loop.slot.apply_command(Germinate(blueprint=Blueprint.MLP, **options))
    assert not result.accepted
    assert reason in result.reason
    assert loop.slot.stage is SeedStage.DORMANT


class Unused(nn.Module):
    """Has a layer that its forward pass leaves out."""

    def __init__(self):
        super().__init__()
        self.net, self.unused = make_net(), nn.Linear(8, 8)

    def forward(self, points):
        return self.net(points)


def test_a_slot_that_no_pass_has_reached_refuses_to_germinate():
    model = graft(Unused(), {"r0c0": "unused"}, example_inputs=POINTS)
    result = model.slot("r0c0").apply_command(Germinate(blueprint=Blueprint.MLP))
    assert "no pass has reached submodule 'unused'" in result.reason


def test_example_inputs_as_a_dict_are_refused_with_advice():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make_net()

        def forward(self, *, points):
            return self.net(points)

    with pytest.raises(KasminaError, match="without example_inputs the first forward pass shows"):
        graft(Named(), {"r0c0": "net.1"}, example_inputs={"points": POINTS})
    model = graft(Named(), {"r0c0": "net.1"})
    model(points=POINTS)
    assert model.slot("r0c0").activations == ActivationSpec.features(8)


@pytest.mark.parametrize("name", ["Muon", "SparseAdam"])
def test_an_optimizer_that_cannot_train_seeds_is_refused_before_a_seed_germinates(loop, name):
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    matrices = [p for p in loop.model.parameters() if p.dim() == 2]
    loop.optimizer = getattr(torch.optim, name)(matrices, lr=0.01)
    with pytest.raises(KasminaError, match=f"^{name} trains .*; .*another optimizer"):
        loop.grow()
    assert loop.slot.stage is SeedStage.DORMANT


def test_gradients_of_an_optimizer_that_cannot_train_seeds_can_be_observed(loop):
    with GradientObserver(torch.optim.LBFGS(loop.model.parameters()), loop.model) as observed:
        pass
    assert observed.missing == ()


def test_a_released_model_says_that_it_has_no_slots_any_more(loop):
    loop.grow()
    loop.model.release()
    with pytest.raises(KasminaError, match=r"release\(\) has taken the slots out; run the model"):
        loop.model(POINTS)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (lambda: SlotSite(1), "the site is 1; give the name of a submodule"),
        (lambda: SlotSite("1", output=1.5), "output is 1.5; give a position, such as 0, or a name"),
        (lambda: SlotSite("1", output=[0]), "output is [0]; give a position"),
        (lambda: SlotSite("1", ActivationSpec.features), "is not an ActivationSpec; give one"),
    ],
    ids=["module", "float", "list", "activations"],
)
def test_slot_sites_with_values_of_the_wrong_type_are_refused(place, reason):
    with pytest.raises(KasminaError, match=re.escape(reason)):
        place()


def test_an_element_of_a_single_tensor_is_refused():
    with pytest.raises(KasminaError, match=r"'1' returns one tensor, which has no ele.*leave outp"):
        graft(make_net(), {"r0c0": SlotSite("1", output=0)}, example_inputs=POINTS)


def test_invalid_arguments_of_a_grafted_model_are_refused(loop):
    with pytest.raises(KasminaError, match=r"sets of slot ids, such as \[\{'r0c0'\}\]"):
        loop.model.counterfactuals(POINTS, ["r0c0"])
    with pytest.raises(KasminaError, match=r"alpha is 0.5; give a tensor with one row per sample"):
        loop.model(POINTS, alpha=0.5)
    with pytest.raises(KasminaError, match=r"the snapshot is 3; give what snapshot\(\) returned"):
        loop.model.restore(3)
    with pytest.raises(KasminaError, match=r"the snapshot is None; give what snapshot\(\) ret"):
        loop.slot.restore(None)


@pytest.mark.parametrize("inputs", [torch.randn(3, 5), "text"], ids=["width", "text"])
def test_a_harvest_with_inputs_that_the_model_does_not_take_is_refused(loop, inputs):
    loop.grow()
    with pytest.raises(KasminaError, match="grown model does not run on the inputs to compare"):
        harvest(loop.model, example_inputs=inputs)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", ["script", "trace"])
def test_a_model_of_torchscript_is_refused(kind):
    scripted = (
        torch.jit.script(make_net())
        if kind == "script"
        else torch.jit.trace(make_net(), (POINTS,), check_trace=False)
    )
    with pytest.raises(KasminaError, match="is compiled by TorchScript; graft the model before"):
        graft(scripted, {"r0c0": "1"}, example_inputs=POINTS)


def test_a_train_that_removes_the_seed_is_an_error(loop):
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}

    def prune(model):
        loop.train(model)
        model.slot("r0c0").prune_now()

    def roll_back(model):
        loop.train(model)
        model.load_state_dict(before)

    for train in (prune, roll_back):
        with pytest.raises(KasminaError, match=r"the seed in slot 'r0c0' is gone .*; leave its"):
            loop.grow(train=train)
        assert loop.slot.stage is SeedStage.DORMANT
    assert loop.grow().fossilized


def test_two_slots_of_one_id_are_refused():
    pair = nn.Sequential(Loop().model, Loop().model)
    optimizer = torch.optim.SGD(pair.parameters(), lr=0.1)
    for call in (
        lambda: parameter_groups(pair),
        lambda: sync_optimizer(optimizer, pair),
        lambda: GradientObserver(optimizer, pair),
        lambda: Loop().grow(model=pair, optimizer=optimizer),
    ):
        with pytest.raises(KasminaError, match="two slots are called 'r0c0'; give every slot"):
            call()
    slots = seed_slots(pair)
    sync_optimizer(optimizer, [slots[0], slots[0]])


def test_a_model_grafted_and_run_in_inference_mode_can_grow():
    model = make_net()
    with torch.inference_mode():
        grafted = graft(model, {"r0c0": "1"}, example_inputs=POINTS)
    loop = Loop()
    loop.model, loop.optimizer = grafted, torch.optim.Adam(parameter_groups(grafted), lr=0.01)
    assert loop.grow().fossilized


def test_a_slot_that_takes_another_dtype_in_inference_mode_can_grow():
    slot = SeedSlot("r0c0")
    with torch.inference_mode():
        slot(POINTS.double())
        assert slot.apply_command(Germinate(blueprint=Blueprint.MLP)).accepted
        slot.tick()
    assert not any(p.is_inference() for p in slot.seed.parameters())
    slot.tick()
    assert slot(POINTS.double()).dtype is torch.float64


def test_a_train_that_makes_no_step_of_the_optimizer_is_an_error(loop):
    def without_step(model):
        loop.optimizer.zero_grad()
        cross_entropy(model.train()(POINTS), LABELS).backward()

    def clears_after(model):
        without_step(model)
        loop.optimizer.zero_grad()

    other = torch.optim.Adam(loop.model.parameters(), lr=0.01)

    def steps_another(model):
        without_step(model)
        other.step()

    for train in (without_step, clears_after, steps_another):
        with pytest.raises(KasminaError, match=r"made no step of the Adam that grow") as error:
            loop.grow(train=train)
        assert_one_line(error)
        assert loop.slot.stage is SeedStage.DORMANT


@pytest.mark.parametrize("runs", [True, False], ids=["forward only", "nothing"])
def test_a_train_without_a_backward_pass_is_an_error(loop, runs):
    def train(model):
        if runs:
            model.train()(POINTS)
        loop.optimizer.step()

    with pytest.raises(KasminaError, match=r"train has to run the model .* and call backward"):
        loop.grow(train=train)


def test_an_epoch_in_which_a_scaler_skips_the_step_is_accepted(loop):
    # The first gradients overflow; the next scale is 30 orders of magnitude smaller.
    scaler = torch.amp.GradScaler("cpu", init_scale=3e38, backoff_factor=1e-30)
    skipped = []

    def train(model):
        model.train()
        loop.optimizer.zero_grad()
        scaler.scale(1e3 * cross_entropy(model(POINTS), LABELS)).backward()
        before = scaler.get_scale()
        scaler.step(loop.optimizer)
        scaler.update()
        skipped.append(scaler.get_scale() < before)

    growth = loop.grow(train=train)
    assert skipped[0]
    assert not all(skipped)
    assert growth.epochs == len(skipped)
