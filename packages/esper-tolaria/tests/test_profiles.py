"""What telemetry profiles measure, and that measuring changes nothing."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from esper_kasmina import build_host
from esper_leyline import Blueprint, FactoredAction, Op, TrainingConfig, override
from esper_leyline.profiles import PERCENTILES, PROFILES
from esper_tolaria import (
    LocalEnvironment,
    ShardedEnvironment,
    build_environment,
    load_dataset,
    make_setup,
)
from esper_tolaria.engine.trainer import Trainer
from esper_tolaria.profiles.layers import (
    describe_layers,
    find_layers,
    measure_gradients,
    weight_norms,
)
from esper_tolaria.profiles.profiler import NO_GRADIENTS
from esper_tolaria.profiles.sharpness import DIRECTIONS, RADIUS, measure_losses, random_direction
from esper_tolaria.sharding.transports import LocalTransport

CPU = torch.device("cpu")
WAIT = FactoredAction()
MEASURING = [name for name, profile in PROFILES.items() if profile is not None]
TOKENS = (
    WAIT,
    FactoredAction(op=Op.GERMINATE, slot=0, blueprint=Blueprint.MLP_SMALL, alpha_target=2),
    FactoredAction(op=Op.ADVANCE, slot=0),
    FactoredAction(op=Op.ADVANCE, slot=0),
    WAIT,
)


def local(task, config, profile):
    setup = make_setup(task, config, build_host, PROFILES[profile])
    return LocalEnvironment(setup, load_dataset(task), CPU)


def sharded(task, config, profile):
    setup = make_setup(task, config, build_host, PROFILES[profile])
    return ShardedEnvironment(setup, [CPU, CPU], LocalTransport)


def weights(environment):
    """Every tensor of every host, as bytes."""
    return [
        {name: each.numpy().tobytes() for name, each in episode._host.state_dict().items()}
        for episode in environment._episodes
    ]


def without_profiles(steps):
    return [tuple(replace(report, profile=None) for report in step) for step in steps]


def profiles_of(steps):
    """The profiles of each host by epoch."""
    return [
        {report.epoch: report.profile for report in host if report.profile is not None}
        for host in zip(*steps, strict=True)
    ]


def generators():
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())  # noqa: NPY002


@pytest.fixture(scope="module")
def plain(task, make_config, play, growth):
    """Four stacked hosts that nothing is measured on."""
    config = make_config(max_epochs=len(growth))
    environment = local(task, config, "minimal")
    steps = play(environment, [1, 2, 3, 4], [growth] * 4)
    return config, steps, weights(environment), environment.evaluate()


@pytest.mark.parametrize("profile", MEASURING)
def test_stacked_hosts_train_as_without_a_profile_bit_for_bit(task, plain, play, growth, profile):
    config, steps, final, tested = plain
    environment = local(task, config, profile)
    before = generators()
    measured = play(environment, [1, 2, 3, 4], [growth] * 4)
    assert generators() == before
    assert "computed together" in environment.plan
    assert without_profiles(measured) == steps
    assert weights(environment) == final
    assert environment.evaluate() == tested
    assert all(profiles_of(measured))
    assert not any(profiles_of(steps))


@pytest.mark.parametrize("profile", MEASURING)
def test_shards_measure_what_one_process_measures(task, plain, play, growth, profile):
    config, steps, _, tested = plain
    environment = sharded(task, config, profile)
    measured = play(environment, [1, 2, 3, 4], [growth] * 4)
    assert without_profiles(measured) == steps
    assert environment.evaluate() == tested
    alone = profiles_of(play(local(task, config, profile), [1, 2, 3, 4], [growth] * 4))
    assert timeless(profiles_of(measured)) == timeless(alone)


@pytest.mark.slow
def test_worker_processes_measure_what_one_process_measures(task, plain, play, growth):
    config, steps, _, tested = plain
    environment = build_environment(
        task, config, build_host, "cpu", workers=2, profile=PROFILES["research"]
    )
    try:
        measured = play(environment, [1, 2, 3, 4], [growth] * 4)
        assert without_profiles(measured) == steps
        assert environment.evaluate() == tested
    finally:
        environment.close()
    alone = profiles_of(play(local(task, config, "research"), [1, 2, 3, 4], [growth] * 4))
    assert timeless(profiles_of(measured)) == timeless(alone)


def timeless(hosts):
    return [{epoch: replace(each, seconds=0.0) for epoch, each in host.items()} for host in hosts]


CASES = {
    "mlp": ("digits", {}, (WAIT,) * 4),
    "tokens": ("topics", {}, TOKENS),
    "bfloat16": ("mnist1d_blind", {"amp": True}, (WAIT,) * 4),
    "float16": ("mnist1d_blind", {"amp": True, "amp_dtype": "float16"}, (WAIT,) * 4),
}


@pytest.mark.parametrize("case", CASES)
def test_other_hosts_train_as_without_a_profile_bit_for_bit(few_rows, play, case):
    name, changes, script = CASES[case]
    task = few_rows(name, 160, max_batches=3)
    settings = {"n_envs": 1, "max_epochs": len(script)} | changes
    config = override(TrainingConfig(task=name), settings)
    plain, measured = (local(task, config, profile) for profile in ("minimal", "research"))
    expected = play(plain, [3], [script])
    found = play(measured, [3], [script])
    assert without_profiles(found) == expected
    assert weights(measured) == weights(plain)
    assert len(profiles_of(found)[0]) == len(script)


@pytest.mark.parametrize(
    ("profile", "epochs"),
    [("standard", {10, 12}), ("diagnostic", {5, 10, 12}), ("research", set(range(1, 13)))],
)
def test_a_profile_measures_at_its_interval_and_in_the_last_epoch(
    task, make_config, play, profile, epochs
):
    environment = local(task, make_config(n_envs=1), profile)
    (found,) = profiles_of(play(environment, [1], [(WAIT,) * 12]))
    assert found.keys() == epochs


def test_each_profile_measures_what_its_table_says(task, make_config, play):
    for name in MEASURING:
        profile = PROFILES[name]
        environment = local(task, make_config(n_envs=1, max_epochs=10), name)
        (found,) = profiles_of(play(environment, [1], [(WAIT,) * 10]))
        last = found[10]
        assert last.profile == name
        assert [each.name for each in last.layers] == [
            *("blocks.0.convolution", "blocks.0.norm", "blocks.1.convolution", "blocks.1.norm"),
            *("blocks.2.convolution", "blocks.2.norm", "classifier"),
        ]
        assert all(each.gradient_norm > 0 and each.weight_norm > 0 for each in last.layers)
        assert all(
            bool(each.gradient_percentiles) is profile.gradient_values for each in last.layers
        )
        assert len(last.class_accuracy) == (10 if profile.class_accuracy else 0)
        assert (last.sharpness is not None) is profile.sharpness
        earlier = [each for epoch, each in found.items() if epoch < 10]
        assert not any(each.sharpness for each in earlier)


def test_class_accuracies_are_those_of_a_plain_loop(task, make_config, play):
    environment = local(task, make_config(n_envs=1, max_epochs=1), "diagnostic")
    (found,) = profiles_of(play(environment, [1], [(WAIT,)]))
    host, split = environment._episodes[0]._host, load_dataset(task).validation
    with torch.no_grad():
        right = host.train(False)(split.inputs).argmax(-1) == split.targets
    expected = [100.0 * right[split.targets == each].double().mean().item() for each in range(10)]
    assert found[1].class_accuracy == pytest.approx(expected)
    assert len(set(found[1].class_accuracy)) > 1


def test_a_class_without_rows_has_no_accuracy(task, make_config):
    environment = local(task, make_config(n_envs=1, max_epochs=1), "diagnostic")
    split = environment._validation
    environment._validation = type(split)(split.inputs, split.targets.clamp(max=8))
    environment.reset([1])
    (report,) = environment.step([WAIT])
    assert report.profile.class_accuracy[9] is None
    assert None not in report.profile.class_accuracy[:9]


def test_hosts_over_tokens_have_no_accuracy_by_class(few_rows, play):
    task = few_rows("topics", 160, max_batches=2)
    config = override(TrainingConfig(task="topics"), {"n_envs": 1, "max_epochs": 1})
    (found,) = profiles_of(play(local(task, config, "research"), [1], [(WAIT,)]))
    assert found[1].class_accuracy == ()
    assert found[1].sharpness.mean_rise > 0
    assert found[1].layers[0].name == "tokens"


def test_gradients_are_those_of_the_last_batch_before_clipping(task, make_config):
    setup = make_setup(task, make_config(), build_host)
    host = setup.build_host(3, CPU)
    seen = []
    trainer = Trainer(
        host,
        setup.training.model_copy(update={"max_grad_norm": 1e-3}),
        rng_seed=3,
        device=CPU,
        observe_gradients=lambda: seen.append(measure_gradients(find_layers(host), values=True)),
    )
    rows = load_dataset(task).train
    inputs, targets = rows.inputs[:50], rows.targets[:50]
    twin = setup.build_host(3, CPU)
    twin.train(True)
    cross_entropy(twin(inputs), targets, label_smoothing=setup.training.label_smoothing).backward()
    trainer.start_epoch(1)
    trainer.train_batch(inputs, targets, last=True)
    (measured,) = seen
    expected = torch.cat([twin.classifier.weight.grad.flatten(), twin.classifier.bias.grad])
    assert measured.norms["classifier"].item() == pytest.approx(expected.norm().item())
    (layer,) = [
        each
        for each in describe_layers(weight_norms(find_layers(twin)), measured)
        if each.name == "classifier"
    ]
    sizes = np.sort(expected.abs().numpy())
    ranks = [math.ceil(len(sizes) * each / 100) - 1 for each in PERCENTILES]
    assert [*layer.gradient_percentiles.values()] == pytest.approx(sizes[ranks].tolist())


def test_shares_count_zero_and_exploding_values():
    layer = nn.Linear(10, 1, bias=False)
    values = [0.0, 0.0, 0.0, 0.5, -0.5, 1.0, -1.5, 3.0, math.inf, math.nan]
    layer.weight.grad = torch.tensor([values])
    layers = {"layer": [layer.weight]}
    (found,) = describe_layers(weight_norms(layers), measure_gradients(layers, values=True))
    assert found.zero_share == pytest.approx(0.3)
    assert found.exploding_share == pytest.approx(0.4)
    assert found.weight_norm == pytest.approx(layer.weight.norm().item())


def test_a_layer_without_a_gradient_has_its_weights_only():
    layers = {"layer": [nn.Parameter(torch.tensor([3.0, 4.0]))]}
    for gradients in (measure_gradients(layers, values=True), NO_GRADIENTS):
        (found,) = describe_layers(weight_norms(layers), gradients)
        assert (found.gradient_norm, found.zero_share, found.weight_norm) == (None, None, 5.0)


def test_filters_of_a_direction_have_the_norms_of_the_filters_of_the_weights():
    found = torch.randn(5, 3, 2, 2)
    found[4] = 0.0
    direction = random_direction(found, torch.Generator().manual_seed(1))
    assert direction.flatten(1).norm(dim=1).tolist() == pytest.approx(
        found.flatten(1).norm(dim=1).tolist()
    )
    again = random_direction(found, torch.Generator().manual_seed(1))
    assert torch.equal(direction, again)
    assert not torch.equal(direction, random_direction(found, torch.Generator().manual_seed(2)))


def test_sharpness_of_a_parabola_is_known():
    host = nn.Linear(6, 4)

    def loss():
        return host.weight.detach().square().sum() + host.bias.detach().sum()

    base = loss().item()
    before = host.weight.detach().clone()
    losses = [each.item() for each in measure_losses(host, loss, rng_seed=1, epoch=2)]
    assert len(losses) == 2 * DIRECTIONS
    # The mean of |w + rd|^2 and |w - rd|^2 is |w|^2 + r^2 |d|^2, and |d| = |w|.
    rise = RADIUS**2 * before.square().sum().item()
    for forward, backward in zip(losses[::2], losses[1::2], strict=True):
        assert (forward + backward) / 2 - base == pytest.approx(rise, rel=1e-3)
        assert forward != backward
    assert torch.equal(host.weight, before)
    assert measure_losses(host, loss, rng_seed=1, epoch=3) != losses


def test_weights_are_restored_after_an_error():
    host = nn.Linear(6, 4)
    before = host.weight.detach().clone()

    def fail():
        assert not torch.equal(host.weight, before)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure_losses(host, fail, rng_seed=1, epoch=1)
    assert torch.equal(host.weight, before)


def test_layers_of_seeds_are_measured_under_their_slot(task, make_config, play, growth):
    environment = local(task, make_config(n_envs=1, max_epochs=11), "research")
    (found,) = profiles_of(play(environment, [1], [growth]))
    names = [each.name for each in found[5].layers]
    assert any(name.startswith("seed_slots.r0c0.") for name in names)
    assert any(name.startswith("seed_slots.r0c2.") for name in names)
    assert not any(
        name.startswith("seed_slots.r0c2.") for name in (each.name for each in found[11].layers)
    )


def test_a_profile_that_is_due_in_the_epoch_of_a_rollback_is_kept(task, make_config):
    environment = local(task, make_config(n_envs=1), "research")
    environment.reset([1])
    with torch.no_grad():
        environment._episodes[0]._host.classifier.bias.fill_(math.nan)
    (report,) = environment.step([WAIT])
    assert report.rollback is not None
    assert math.isnan(report.profile.layers[-1].gradient_norm)
    assert report.profile.layers[-1].exploding_share == 1.0


def test_the_seconds_of_a_profile_are_a_part_of_the_step(task, make_config):
    environment = local(task, make_config(n_envs=1, max_epochs=11), "standard")
    environment.reset([1])
    for epoch in range(1, 12):
        (report,) = environment.step([WAIT])
        assert ("profile" in report.seconds) is (epoch in {10, 11})
    assert report.seconds["profile"] == report.profile.seconds > 0
