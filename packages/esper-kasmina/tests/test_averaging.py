"""An average of a model's weights follows births and prunings."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from esper_kasmina import (
    Activations,
    KasminaError,
    SeedSlot,
    parameter_groups,
    sync_average,
    sync_optimizer,
)
from esper_leyline import Advance, Blueprint, Fossilize, Germinate, SeedMeasurement, SeedStage

INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(6, 8)
        self.slot = SeedSlot("r0c0", Activations.features(8))
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
def test_an_average_follows_a_whole_life(buffers):
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


def test_a_seed_joins_with_its_values_is_averaged_and_leaves():
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


def test_an_average_of_another_model_is_named():
    with pytest.raises(KasminaError, match="the average has the slots none and the model r0c0"):
        sync_average(AveragedModel(nn.Linear(2, 2)), Net())
