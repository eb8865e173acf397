"""Automatic mixed precision: a seed changes neither dtype nor shape, and learns."""

from __future__ import annotations

import pytest
import torch

from esper_leyline import Advance, Fossilize, Prune, SeedMeasurement, SeedStage


@pytest.fixture
def epoch(batch, objective):
    """One epoch in bfloat16; returns the logits."""

    def run(host, optimizer):
        inputs, labels = batch(host.spec, 8)
        host.train()
        host.sync_optimizer(optimizer)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = host(inputs)
            loss = objective(logits, labels)
        loss.backward()
        assert logits.isfinite().all()
        assert all(p.grad.isfinite().all() for p in host.parameters() if p.grad is not None)
        optimizer.step()
        host.record_gradients()
        occupied = [report.slot for report in host.seed_reports() if report.occupied]
        host.record_validation(50.0, [SeedMeasurement(slot=s, contribution=1.0) for s in occupied])
        host.tick()
        return logits.detach()

    return run


LIVES = {
    "fossil": (Fossilize(), SeedStage.FOSSILIZED),
    "prune": (Prune(ticks=3), SeedStage.PRUNED),
}


@pytest.mark.parametrize(("end", "last"), LIVES.values(), ids=LIVES)
def test_a_seed_goes_through_all_stages_under_autocast(
    family, style, make_host, grow, *, order, epoch, end, last
):
    host, bare = make_host(family, min_prune_age=0), make_host(family)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (host, bare)]
    grow(host, "r0c1", SeedStage.GERMINATED, style=style)
    slot = host.slot("r0c1")
    for command, epochs in ((None, 1), (Advance(), 2), (Advance(), 4), (Advance(), 2), (end, 3)):
        if command is not None:
            order(host, "r0c1", command)
        for _ in range(epochs):
            isolated, learns = slot.alpha == 0.0, slot.active and not slot.state.pruning
            seed = slot.seed
            before = [parameter.detach().clone() for parameter in seed.parameters()]
            logits, expected = epoch(host, optimizers[0]), epoch(bare, optimizers[1])
            assert logits.dtype is expected.dtype
            assert logits.shape == expected.shape
            assert torch.equal(logits, expected) or not isolated
            pairs = zip(before, seed.parameters(), strict=True)
            assert all(torch.equal(old, new) != learns for old, new in pairs)
    assert slot.stage is last


def test_activations_keep_their_dtype(spec_and_blueprint, style, make_host, grow):
    """A layer of the host may return either precision."""
    spec, blueprint = spec_and_blueprint
    host = make_host(spec)
    grow(host, "r0c0", SeedStage.TRAINING, blueprint, style=style)
    slot = host.slot("r0c0")
    kind = slot.activations
    shape = [4] + [6] * (kind.rank - 1)
    shape[kind.channel_axis] = kind.channels
    for dtype in (torch.float32, torch.bfloat16):
        hidden = torch.randn(shape, dtype=dtype)
        overrides = torch.tensor([torch.nan, 0.0, 0.5, 1.0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for output in (slot(hidden), slot(hidden, overrides)):
                assert output.dtype is dtype
                assert output.shape == hidden.shape
                assert output.isfinite().all()
