"""A growing layer in a plain PyTorch model, with ``esper-kasmina`` alone.

The model sees single points only, so it cannot tell a rising edge from a falling one. A
seed three points wide can. ``test_wheels.py`` runs this where nothing else is installed.
"""

from __future__ import annotations

import torch
from torch import nn

from esper_kasmina import ActivationSpec, SeedSlot, sync_optimizer
from esper_leyline import Advance, Blueprint, Fossilize, Germinate, SeedMeasurement, SeedStage
from esper_leyline.commands import SlotCommand


def edges(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws signals [N, 1, 16] with one rising (1) or falling (0) edge, and their labels [N]."""
    labels = torch.randint(0, 2, (count,))
    signals = torch.zeros(count, 1, 16)
    places = torch.randint(0, 15, (count,))
    rows = torch.arange(count)
    signs = labels * 2.0 - 1.0
    signals[rows, 0, places] = -signs
    signals[rows, 0, places + 1] = signs
    return signals, labels


torch.manual_seed(0)
torch.set_num_threads(1)
slot = SeedSlot("r0c0", ActivationSpec.maps(8, dimensions=1))
model = nn.Sequential(
    nn.Conv1d(1, 8, kernel_size=1),
    nn.ReLU(),
    slot,
    nn.AdaptiveAvgPool1d(1),
    nn.Flatten(),
    nn.Linear(8, 2),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
inputs, targets = edges(256)


@torch.no_grad()
def accuracy(alpha: float = float("nan")) -> float:
    """Returns accuracy in percent with the seed at ``alpha``; NaN leaves it as it is."""
    model.eval()
    hidden = slot(model[:2](inputs), torch.full((len(inputs),), alpha))
    correct = model[3:](hidden).argmax(1) == targets
    model.train()
    return 100.0 * correct.float().mean().item()


def epoch() -> None:
    """Trains for one epoch and tells the slot what came of it."""
    sync_optimizer(optimizer, [slot])
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    slot.record_gradients()
    measured = None
    if slot.occupied:
        gain = accuracy() - accuracy(alpha=0.0)
        measured = SeedMeasurement(slot="r0c0", contribution=gain)
    slot.record_validation(accuracy(), measured)
    slot.tick()


def command(wanted: SlotCommand) -> None:
    """Gives the slot a command that it must accept."""
    result = slot.apply_command(wanted)
    assert result.accepted, result.reason


for _ in range(3):
    epoch()
blind = accuracy()

command(Germinate(blueprint=Blueprint.CONV_LIGHT))
assert accuracy() == blind, "a newborn seed changes nothing"
command(Advance())
for _ in range(4):
    epoch()
command(Advance())
while slot.stage is SeedStage.BLENDING:
    epoch()
    slot.apply_command(Advance())
for _ in range(4):
    epoch()
command(Fossilize())
epoch()

print(f"alone {blind:.0f} %, grown {accuracy():.0f} %")
assert slot.stage is SeedStage.FOSSILIZED
assert blind < 65.0
assert accuracy() > 90.0
