"""A model grows in a training loop of ``accelerate``, is saved and loaded, and trains on."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import mse_loss
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from esper_kasmina import Schedule, graft, grow, harvest, sync_optimizer
from esper_leyline import Blueprint

INPUTS = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS[:, :2] * INPUTS[:, 2:4]
RATE = 0.02


def prepared(accelerator):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
    model = graft(layers, {"r0c0": "0"}, example_inputs=INPUTS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    scheduler = OneCycleLR(optimizer, max_lr=RATE, total_steps=200)
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8)
    return accelerator.prepare(model, optimizer, scheduler, loader)


def train(accelerator, model, optimizer, scheduler, loader):
    model.train()
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            accelerator.backward(mse_loss(model(inputs), targets))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()


@torch.no_grad()
def score(model):
    return -100 * mse_loss(model.eval()(INPUTS), TARGETS).item()


@pytest.mark.parametrize("steps", [1, 2])
def test_a_seed_grows_and_training_resumes(steps, tmp_path):
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=steps)
    model, *tools = prepared(accelerator)
    optimizer, scheduler, _ = tools
    growth = grow(
        model,
        "r0c0",
        Blueprint.MLP_SMALL,
        optimizer,
        lambda grown: train(accelerator, grown, *tools),
        score,
        schedule=Schedule(min_contribution=-100.0, training=1, blending=1, holding=1),
        scheduler=scheduler,
    )
    assert growth.fossilized, growth.reason
    rates = [group["lr"] for group in optimizer.param_groups]
    assert len(rates) == 2
    assert rates[0] == rates[1] == scheduler.get_last_lr()[1]
    accelerator.save_state(str(tmp_path))

    again = Accelerator(cpu=True, gradient_accumulation_steps=steps)
    resumed, *others = prepared(again)
    # The optimizer's state has a group for the seed, so the seed comes first.
    again.unwrap_model(resumed).load_state_dict(load_file(tmp_path / "model.safetensors"))
    sync_optimizer(others[0], resumed)
    again.load_state(str(tmp_path))
    for each, parts in ((model, (accelerator, *tools)), (resumed, (again, *others))):
        train(parts[0], each, *parts[1:])
    assert [group["lr"] for group in others[0].param_groups] == [
        group["lr"] for group in optimizer.param_groups
    ]
    for first, second in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(second, first)
    plain = harvest(accelerator.unwrap_model(model))
    assert torch.equal(plain(INPUTS), model.eval()(INPUTS))
