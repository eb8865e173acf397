"""Hosts in mixed precision: bfloat16 and float16, both for real, on a CPU as well."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from esper_kasmina import build_host
from esper_leyline import (
    Advance,
    Blueprint,
    FactoredAction,
    Germinate,
    HostOptions,
    HostTraining,
    Op,
    SeedCommand,
    TransformerHostSpec,
)
from esper_tolaria import LocalEnvironment, load_dataset
from esper_tolaria.engine.optimizers import build_optimizer
from esper_tolaria.engine.precision import Precision, build_precision
from esper_tolaria.engine.trainer import Trainer

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CPU = torch.device("cpu")
WAIT = FactoredAction()

every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)
either_dtype = pytest.mark.parametrize("name", DTYPES)


def host_of(environment, index):
    return environment._episodes[index]._host


def make_on(setup, device):
    return LocalEnvironment(setup, load_dataset(setup.task), torch.device(device))


@every_device
@either_dtype
def test_hosts_learn_with_parameters_in_float32(make_setup_for, name, device):
    environment = make_on(make_setup_for(n_envs=2, amp=True, amp_dtype=name), device)
    environment.reset([1, 2])
    reports = [environment.step([WAIT, WAIT]) for _ in range(6)]
    for index in range(2):
        losses = [step[index].train_loss for step in reports]
        assert all(math.isfinite(loss) for loss in losses)
        assert losses[-1] < losses[0] - 0.2
        assert all(math.isfinite(step[index].val_loss) for step in reports)
        host = host_of(environment, index)
        assert {parameter.dtype for parameter in host.parameters()} == {torch.float32}
        assert {b.dtype for b in host.buffers() if b.is_floating_point()} == {torch.float32}
    assert all(judged.test_accuracy > 12 for judged in environment.evaluate())


@either_dtype
@pytest.mark.parametrize("amp", [False, True])
def test_training_and_validation_run_under_autocast(make_local, name, amp):
    environment = make_local(n_envs=1, amp=amp, amp_dtype=name)
    environment.reset([1])
    seen = {True: set(), False: set()}
    host = host_of(environment, 0)
    host.blocks[1].convolution.register_forward_hook(
        lambda _, __, output: seen[host.training].add(output.dtype)
    )
    # Hosts that are computed together do not call their own layers.
    environment._stacked = None
    environment.step([WAIT])
    expected = {DTYPES[name] if amp else torch.float32}
    assert seen == {True: expected, False: expected}


@either_dtype
def test_a_host_in_mixed_precision_depends_on_its_own_seed_only(
    make_local, play, growth, random_script, name
):
    length = len(growth) if name == "bfloat16" else 6
    seeds = [3, 1, 4, 15]
    scripts = [each[:length] for each in (growth, *(random_script(i, length) for i in (1, 2, 3)))]
    mixed = {"amp": True, "amp_dtype": name}
    together = play(make_local(n_envs=4, **mixed), seeds, scripts)
    for index, (seed, script) in enumerate(zip(seeds, scripts, strict=True)):
        alone = play(make_local(n_envs=1, **mixed), [seed], [script])
        for joint, (single,) in zip(together, alone, strict=True):
            assert replace(single, environment=index) == joint[index]
    plain = play(make_local(n_envs=4), seeds, scripts)
    assert plain[-1][0].train_loss != together[-1][0].train_loss


def test_the_lifecycle_of_two_seeds_is_that_of_float32(make_local, play, growth):
    mixed = [step[0] for step in play(make_local(n_envs=1, amp=True), [5], [growth])]
    plain = [step[0] for step in play(make_local(n_envs=1), [5], [growth])]
    for one, other in zip(mixed, plain, strict=True):
        assert [seed.stage for seed in one.seeds] == [seed.stage for seed in other.seeds]
        assert [event.kind for event in one.events] == [event.kind for event in other.events]
        assert len(one.counterfactuals) == len(other.counterfactuals)
    assert mixed[-1].train_loss == pytest.approx(plain[-1].train_loss, rel=0.1)


@either_dtype
def test_recorded_gradients_have_their_true_size(make_local, name):
    germinate = FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.CONV_SMALL)
    script = (germinate, FactoredAction(op=Op.ADVANCE, slot=1), WAIT)
    norms = []
    for options in ({"amp": True, "amp_dtype": name}, {}):
        environment = make_local(n_envs=1, **options)
        environment.reset([1])
        for action in script:
            (report,) = environment.step([action])
        norms.append(report.seeds[1].gradient_norm)
    # They are noisy, but the scale of float16 starts at 65,536.
    assert 0.25 < norms[0] / norms[1] < 4


def a_batch(spec):
    generator = torch.Generator().manual_seed(0)
    if isinstance(spec, TransformerHostSpec):
        tokens = torch.randint(spec.vocabulary, (8, spec.block + 1), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]
    inputs = torch.randn(8, *spec.input_shape, generator=generator)
    return inputs, torch.randint(spec.classes, (8,), generator=generator)


def trained(spec, precision, *, steps=12):
    """Trains a host on one batch; returns its parameters and the losses on the way."""
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    optimizer = build_optimizer(host, HostTraining(optimizer="adamw", learning_rate=0.01))
    inputs, targets = a_batch(spec)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with precision.autocast():
            loss = cross_entropy(host(inputs).flatten(0, -2), targets.flatten())
        precision.backward(loss)
        precision.step(optimizer)
        losses.append(loss.item())
    return losses


@either_dtype
def test_every_topology_learns_as_in_float32(family, name):
    mixed = trained(family, Precision(DTYPES[name], CPU))
    assert mixed == pytest.approx(trained(family, Precision()), rel=0.05)
    assert mixed[-1] < 0.9 * mixed[0]


def test_a_seed_in_training_does_not_change_its_host(task):
    """Isolation holds to the bit in bfloat16, too."""
    training = task.training.model_copy(update={"seed_max_grad_norm": 0.5})
    data = load_dataset(task).train
    hosts = []
    for grown in (False, True):
        host = build_host(task.host, HostOptions(slots=task.slots, rng_seed=3))
        if grown:
            for command in (Germinate(blueprint=Blueprint.CONV_LIGHT), Advance()):
                assert host.apply_command(SeedCommand(slot="r0c1", command=command)).accepted
        trainer = Trainer(
            host, training, rng_seed=3, device=CPU, precision=Precision(torch.bfloat16, CPU)
        )
        trainer.sync()
        trainer.start_epoch(1)
        for batch in zip(data.inputs.split(100), data.targets.split(100), strict=True):
            trainer.train_batch(*batch, last=False)
        hosts.append(host)
    bare, with_seed = hosts
    assert with_seed.slot("r0c1").seed.scale != 0
    grown = with_seed.state_dict()
    own = {name: value for name, value in bare.state_dict().items() if "seed_slots" not in name}
    assert all(torch.equal(value, grown[name]) for name, value in own.items())


def test_a_batch_that_overflows_in_float16_is_skipped(task):
    host = build_host(task.host, HostOptions(slots=task.slots, rng_seed=3))
    with torch.no_grad():
        host.classifier.weight *= 100.0
    trainer = Trainer(
        host, task.training, rng_seed=3, device=CPU, precision=Precision(torch.float16, CPU)
    )
    data = load_dataset(task).train
    for command in (Germinate(blueprint=Blueprint.CONV_LIGHT), Advance()):
        assert host.apply_command(SeedCommand(slot="r0c1", command=command)).accepted
    trainer.sync()
    trainer.start_epoch(1)
    moved, recorded = [], []
    for batch in zip(data.inputs[:50].split(5), data.targets[:50].split(5), strict=True):
        before = [parameter.detach().clone() for parameter in host.parameters()]
        trainer.train_batch(*batch, last=True)
        recorded.append(host.seed_reports()[1].gradient_norm)
        finite = all(p.grad.isfinite().all() for p in host.parameters())
        moved.append(not all(map(torch.equal, host.parameters(), before)))
        assert moved[-1] == finite
    assert not moved[0]
    assert moved[-1]
    assert trainer.parameters_finite()
    # What was skipped is nothing to judge a seed by.
    assert recorded[0] is None
    assert math.isfinite(recorded[-1])


@pytest.mark.parametrize("name", DTYPES)
def test_the_configuration_selects_the_type(make_config, name):
    config = make_config(amp=True, amp_dtype=name)
    with build_precision(config, CPU).autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype is DTYPES[name]
    plain = build_precision(make_config(amp=False, amp_dtype=name), CPU)
    assert not plain.mixed
    with plain.autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype is torch.float32


def test_hosts_in_mixed_precision_are_not_stacked(make_local):
    environment = make_local(n_envs=2, amp=True)
    environment.reset([1, 2])
    assert environment.plan == "in this process on cpu, one thread, 2 hosts"
    assert environment._stacked is None
