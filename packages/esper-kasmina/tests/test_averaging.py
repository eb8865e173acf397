"""An average of a model's weights follows germinations and prunings."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from timm.utils import ModelEmaV2, ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esper_kasmina import (
    ActivationSpec,
    KasminaError,
    SeedSlot,
    graft,
    harvest,
    parameter_groups,
    sync_average,
    sync_optimizer,
)
from esper_leyline import (
    Advance,
    BlendStyle,
    Blueprint,
    Fossilize,
    Germinate,
    SeedMeasurement,
    SeedStage,
)

from .lifecycle_helpers import give, raise_seed

STAGES = (
    SeedStage.GERMINATED,
    SeedStage.TRAINING,
    SeedStage.BLENDING,
    SeedStage.HOLDING,
    SeedStage.FOSSILIZED,
)
INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(6, 8)
        self.slot = SeedSlot("r0c0", ActivationSpec.features(8))
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.norm(self.slot(self.stem(inputs))))


def epoch(model, optimizer, averaged):
    sync_optimizer(optimizer, model)
    optimizer.zero_grad()
    model.train()(INPUTS).square().mean().backward()
    optimizer.step()
    sync_average(averaged, model)
    averaged.update_parameters(model)
    model.slot.record_gradients()
    model.slot.record_validation(
        50.0, SeedMeasurement(slot="r0c0", contribution=1.0) if model.slot.occupied else None
    )
    model.slot.tick()
    sync_average(averaged, model)


@pytest.mark.parametrize("buffers", [False, True])
def test_an_average_follows_a_seed_through_all_stages(buffers):
    model = Net()
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=buffers)
    stem = model.stem.weight.detach().clone()
    stages = []
    for step in range(9):
        if step == 1:
            model.slot.apply_command(Germinate(blueprint=Blueprint.LORA, tempo=2))
        elif step > 1:
            model.slot.apply_command(
                Fossilize() if model.slot.stage is SeedStage.HOLDING else Advance()
            )
        epoch(model, optimizer, averaged)
        average = averaged.module.slot
        stem = torch.lerp(stem, model.stem.weight.detach(), 0.5 if step else 1.0)
        torch.testing.assert_close(averaged.module.stem.weight, stem)
        assert (average.stage, average.alpha) == (model.slot.stage, model.slot.alpha)
        assert float(average._strength) == average.alpha
        stages.append(average.stage)
    assert SeedStage.FOSSILIZED in stages
    seeds = zip(average.seed.parameters(), model.slot.seed.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in seeds)


def test_a_new_seed_is_averaged_from_its_values_in_the_model_until_it_is_removed():
    model = Net()
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    epoch(model, optimizer, averaged)
    model.slot.apply_command(Germinate(blueprint=Blueprint.LORA))
    model.slot.apply_command(Advance())
    nn.init.ones_(model.slot.seed.scale)
    sync_average(averaged, model)
    assert averaged.module.slot.seed.scale.item() == 1.0
    nn.init.constant_(model.slot.seed.scale, 3.0)
    sync_average(averaged, model)
    averaged.update_parameters(model)
    assert averaged.module.slot.seed.scale.item() == pytest.approx(2.0)
    model.slot.prune_now()
    epoch(model, optimizer, averaged)
    assert averaged.module.slot.seed is None
    assert len(list(averaged.module.parameters())) == len(list(model.parameters()))


def test_an_average_of_a_model_with_other_slots_is_refused():
    with pytest.raises(KasminaError, match="the average has the slots none and the model r0c0"):
        sync_average(AveragedModel(nn.Linear(2, 2)), Net())


def grafted(stage, **germinate):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    model = graft(layers, {"r0c0": "0"}, example_inputs=INPUTS)
    if stage is not None:
        raise_seed(model, "r0c0", stage, Blueprint.LORA, INPUTS, **germinate)
    return model


def averaged_of(model, **options):
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), **options)


@pytest.mark.parametrize("style", [BlendStyle.LINEAR_ADD, BlendStyle.GATED_GATE])
@pytest.mark.parametrize("stage", [None, *STAGES])
def test_an_average_can_be_made_of_a_model_in_any_stage(stage, style):
    model = grafted(stage, style=style).eval()
    averaged = averaged_of(model).eval()
    assert averaged.module.slot("r0c0").report() == model.slot("r0c0").report()
    assert torch.equal(averaged(INPUTS), model(INPUTS))
    sync_average(averaged, model)
    averaged.update_parameters(model)
    assert torch.equal(averaged(INPUTS), model(INPUTS))
    plain = harvest(averaged, drop_live=True, example_inputs=INPUTS)
    assert type(plain) is nn.Sequential
    with averaged.module.slot("r0c0").held_out():
        without = averaged(INPUTS)
    wanted = averaged(INPUTS) if stage is SeedStage.FOSSILIZED else without
    torch.testing.assert_close(plain(INPUTS), wanted)


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize(
    "use", [lambda model: model.eval()(INPUTS), harvest], ids=["run", "harvest"]
)
def test_an_average_that_was_not_synchronised_is_an_error(use, buffers):
    """Its weights are those of a blended seed, its stage is the one in which it was made."""
    model = grafted(SeedStage.TRAINING)
    averaged = averaged_of(model, use_buffers=buffers)
    model.record_gradients()
    epoch_of(model)
    give(model, "r0c0", Advance())
    for _ in range(3):
        model.tick()
    for _ in range(2):
        averaged.update_parameters(model)
    with pytest.raises(KasminaError, match=r"has alpha 0, and was given .* sync_average"):
        use(averaged)
    sync_average(averaged, model)
    averaged.eval()(INPUTS)
    assert averaged.module.slot("r0c0").stage is model.slot("r0c0").stage


def epoch_of(model):
    model.train()(INPUTS).square().mean().backward()
    model.record_gradients()
    model.record_validation(50.0, [])
    model.tick()


def test_an_average_of_state_dicts_includes_the_lifecycle():
    model = grafted(SeedStage.TRAINING)
    averaged = ModelEmaV3(model, decay=0.0)
    other = ModelEmaV2(model, decay=0.5)
    epoch_of(model)
    give(model, "r0c0", Advance())
    for _ in range(3):
        model.tick()
    averaged.update(model)
    assert averaged.module.slot("r0c0").stage is SeedStage.TRAINING
    torch.testing.assert_close(averaged.module.eval()(INPUTS), model.eval()(INPUTS))
    assert averaged.module.slot("r0c0").report() == model.slot("r0c0").report()
    other.update(model)  # it takes the mean of bytes
    with pytest.raises(KasminaError, match="the state of slot 'r0c0' cannot be read"):
        other.module.eval()(INPUTS)


def test_copies_and_moves_do_not_count_as_averages():
    model = grafted(SeedStage.HOLDING).eval()
    wanted = model(INPUTS)
    model.state_dict()
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.double().float()):
        assert torch.equal(same(INPUTS), wanted)
    with torch.inference_mode():
        inside = copy.deepcopy(model)
        assert torch.equal(inside(INPUTS), wanted)
    with torch.no_grad():
        assert torch.equal(inside(INPUTS), wanted)
    values = {"seed_slots.r0c0._strength": torch.zeros(())}
    torch.func.functional_call(model, values, (INPUTS,))
    assert torch.equal(model(INPUTS), wanted)
