from __future__ import annotations

import pytest
import torch
from torch.nn.functional import log_softmax

from esper_tolaria import load_dataset
from esper_tolaria.engine.trainer import Trainer

CPU = torch.device("cpu")


def smoothed(logits: torch.Tensor, targets: torch.Tensor, share: float) -> float:
    """Szegedy et al. 2016, section 7: the target keeps 1 - share, all classes get the rest."""
    chances = log_softmax(logits.double(), -1).flatten(0, -2)
    wanted = torch.full_like(chances, share / chances.shape[-1])
    wanted[torch.arange(len(wanted)), targets.flatten()] += 1.0 - share
    return -(wanted * chances).sum(-1).mean().item()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", ["digits", "topics"])
def test_training_smooths_its_labels(few_rows, grown_in, name, share):
    task = few_rows(name, 40, label_smoothing=share, batch_size=40)
    environment = grown_in(task)
    host = environment._setup.build_host(3, CPU)
    train = load_dataset(task).train
    with torch.no_grad():
        expected = smoothed(host(train.inputs), train.targets, share)
    trainer = Trainer(host, task.training, rng_seed=3, device=CPU)
    trainer.start_epoch(1)
    trainer.train_batch(train.inputs, train.targets, last=True)
    loss, _ = trainer.epoch_metrics(train.targets)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_validation_does_not_smooth_its_labels(few_rows, grown_in):
    plain, smooth = (
        grown_in(few_rows("digits", 40, label_smoothing=share)) for share in (0.0, 0.3)
    )
    for environment in (plain, smooth):
        environment.reset([5])
    assert plain.evaluate() == smooth.evaluate()
