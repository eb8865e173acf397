from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import Advance, Blueprint, Germinate, Op, SeedCommand
from esper_tolaria import load_dataset
from esper_tolaria.trainer import Trainer
from esper_tolaria.validation import active_slots, configurations, read, score

SLOTS = ("r0c0", "r0c1", "r0c2")


@given(active=st.lists(st.sampled_from(SLOTS), unique=True))
def test_configurations_start_with_the_whole_network_and_never_repeat(active):
    disabled = configurations(active)
    assert disabled[0] == frozenset()
    assert len(set(disabled)) == len(disabled)
    assert {frozenset({slot}) for slot in active} <= set(disabled)
    assert frozenset().union(*disabled) == frozenset(active)


def test_two_seeds_get_every_subset():
    subsets = {frozenset(chosen) for size in range(3) for chosen in combinations(SLOTS[:2], size)}
    assert set(configurations(SLOTS[:2])) == subsets


@pytest.fixture(scope="module")
def grow(make_setup_for):
    """A host whose seeds were trained, then moved on until alpha is above zero."""

    def make(*slots: str):
        setup = make_setup_for()
        host = setup.build_host(3, torch.device("cpu"))
        trainer = Trainer(host, setup.training, seed=3, device=torch.device("cpu"))
        train = load_dataset(setup.task.data).train
        commands = (Germinate(blueprint=Blueprint.CONV_LIGHT, tempo=3), Advance(), Advance())
        for epoch, command in enumerate(commands, start=1):
            for slot in slots:
                assert host.apply_command(SeedCommand(slot=slot, command=command)).accepted
            trainer.sync()
            trainer.start_epoch(epoch)
            batches = list(zip(train.inputs.split(100), train.targets.split(100), strict=True))
            for number, batch in enumerate(batches, start=1):
                trainer.train_batch(*batch, last=number == len(batches))
            host.record_validation(50.0, ())
            host.tick()
        return host, load_dataset(setup.task.data).validation

    return make


def accuracy_with(host, split, off: frozenset[str]) -> float:
    """The slow way: one ordinary pass with alpha overridden, sample by sample."""
    alpha = torch.full((len(split), len(SLOTS)), float("nan"))
    for slot in off:
        alpha[:, SLOTS.index(slot)] = 0.0
    with torch.no_grad():
        logits = host(split.inputs, alpha)
    return 100.0 * (logits.argmax(-1) == split.targets).double().mean().item()


def test_contributions_are_main_minus_leave_one_out(grow):
    host, split = grow(*SLOTS)
    active = active_slots(host.seed_reports())
    assert active == SLOTS
    validation = read(score(host, split, configurations(active), 10), active)
    main = accuracy_with(host, split, frozenset())
    assert validation.accuracy == pytest.approx(main)
    for measured in validation.measurements:
        without = accuracy_with(host, split, frozenset({measured.slot}))
        assert measured.contribution == pytest.approx(main - without)
        assert measured.interaction_sum is None
    assert any(measured.contribution != 0 for measured in validation.measurements)


def test_two_seeds_interact_as_the_four_subsets_say(grow):
    host, split = grow("r0c0", "r0c2")
    active = active_slots(host.seed_reports())
    validation = read(score(host, split, configurations(active), 10), active)
    f = {
        chosen: accuracy_with(host, split, frozenset(active) - chosen)
        for chosen in map(frozenset, [(), ("r0c0",), ("r0c2",), ("r0c0", "r0c2")])
    }
    first, second = frozenset({"r0c0"}), frozenset({"r0c2"})
    expected = f[first | second] - f[first] - f[second] + f[frozenset()]
    for measured in validation.measurements:
        assert measured.interaction_sum == pytest.approx(expected)
    reported = {frozenset(each.active): each.accuracy for each in validation.counterfactuals}
    assert reported == pytest.approx(f)


def test_a_lone_seed_interacts_with_nobody(grow):
    host, split = grow("r0c1")
    active = active_slots(host.seed_reports())
    (measured,) = read(score(host, split, configurations(active), 10), active).measurements
    assert measured.interaction_sum == 0.0


def test_only_blended_seeds_are_measured(make_setup_for):
    setup = make_setup_for()
    host = setup.build_host(3, torch.device("cpu"))
    for command in (Germinate(blueprint=Blueprint.NORM), Advance()):
        assert host.apply_command(SeedCommand(slot="r0c1", command=command)).accepted
    assert host.seed_reports()[1].stage.name == "TRAINING"
    assert active_slots(host.seed_reports()) == ()
    split = load_dataset(setup.task.data).validation
    validation = read(score(host, split, configurations(()), 10), ())
    assert validation.measurements == ()
    assert validation.counterfactuals == ()
    assert Op.PRUNE not in host.seed_reports()[1].permitted


def test_loss_and_accuracy_are_means_over_all_rows(make_setup_for):
    setup = make_setup_for()
    host = setup.build_host(5, torch.device("cpu"))
    data = load_dataset(setup.task.data)
    validation = read(score(host, data.train, configurations(()), 10), ())
    host.train(False)
    with torch.no_grad():
        logits = host(data.train.inputs)
    loss = torch.nn.functional.cross_entropy(logits, data.train.targets).item()
    assert validation.loss == pytest.approx(loss, rel=1e-5)
    assert validation.accuracy == pytest.approx(
        100.0 * (logits.argmax(-1) == data.train.targets).double().mean().item()
    )
