from __future__ import annotations

import pytest
import torch

from esper_leyline import Advance, Blueprint, Germinate, Op, SeedCommand
from esper_leyline.config.host import CounterfactualSet
from esper_tolaria import load_dataset
from esper_tolaria.engine.trainer import Trainer
from esper_tolaria.validation.counterfactuals import FULL_ONLY, active_slots, compare
from esper_tolaria.validation.shapley import exact_values, subsets
from esper_tolaria.validation.validate import CHUNK, ScoreRequest, read, score

SLOTS = ("r0c0", "r0c1", "r0c2")
ASKED = CounterfactualSet()


@pytest.fixture(scope="module")
def grow(make_setup_for):
    """A host whose seeds were trained, then moved on until alpha is above zero."""

    def make(*slots: str):
        setup = make_setup_for()
        host = setup.build_host(3, torch.device("cpu"))
        trainer = Trainer(host, setup.training, rng_seed=3, device=torch.device("cpu"))
        train = load_dataset(setup.task).train
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
        return host, load_dataset(setup.task).validation

    return make


def accuracy_with(host, split, off: frozenset[str]) -> float:
    """The slow way: one ordinary pass with alpha overridden, sample by sample."""
    alpha = torch.full((len(split), len(SLOTS)), float("nan"))
    for slot in off:
        alpha[:, SLOTS.index(slot)] = 0.0
    host.train(False)
    with torch.no_grad():
        logits = host(split.inputs, alpha)
    return 100.0 * (logits.argmax(-1) == split.targets).double().mean().item()


def validate(host, split, asked=ASKED, *, last=False):
    comparison = compare(host.seed_reports(), asked, last=last, key=(3, 4))
    return read(
        score(host, split, ScoreRequest(disabled=comparison.disabled), classes=10), comparison
    )


def slow_way(host, split, active):
    """Accuracy by the seeds that are on, one configuration after another."""
    return {on: accuracy_with(host, split, frozenset(active) - on) for on in subsets(active)}


def test_contributions_are_full_minus_leave_one_out(grow):
    host, split = grow(*SLOTS)
    validation = validate(host, split)
    main = accuracy_with(host, split, frozenset())
    assert validation.accuracy == pytest.approx(main)
    assert tuple(measured.slot for measured in validation.measurements) == SLOTS
    for measured in validation.measurements:
        without = accuracy_with(host, split, frozenset({measured.slot}))
        assert measured.contribution == pytest.approx(main - without)
    assert any(measured.contribution != 0 for measured in validation.measurements)


@pytest.mark.parametrize("slots", [("r0c0", "r0c2"), SLOTS], ids=len)
def test_interactions_are_pair_minus_single_gains(grow, slots):
    host, split = grow(*slots)
    f = slow_way(host, split, slots)
    validation = validate(host, split)
    none = f[frozenset()]
    for measured in validation.measurements:
        i = measured.slot
        expected = sum(
            f[frozenset({i, j})] - f[frozenset({i})] - f[frozenset({j})] + none
            for j in slots
            if j != i
        )
        assert measured.interaction_sum == pytest.approx(expected)
    assert any(abs(measured.interaction_sum) > 0.1 for measured in validation.measurements)
    reported = {frozenset(each.active): each.accuracy for each in validation.counterfactuals}
    assert reported == pytest.approx(f)


def test_shapley_values_of_a_grown_host_add_up(grow):
    host, split = grow(*SLOTS)
    validation = validate(host, split, CounterfactualSet(shapley=True), last=True)
    f = slow_way(host, split, SLOTS)
    assert validation.shapley.exact
    assert validation.shapley.values == pytest.approx(exact_values(SLOTS, f))
    total = sum(validation.shapley.values.values())
    assert total == pytest.approx(f[frozenset(SLOTS)] - f[frozenset()])
    assert validate(host, split, CounterfactualSet(shapley=True)).shapley is None


def test_the_interaction_of_a_single_seed_is_zero(grow):
    host, split = grow("r0c1")
    (measured,) = validate(host, split).measurements
    assert measured.interaction_sum == 0.0


def test_rows_are_read_once_for_all_configurations(grow):
    host, split = grow(*SLOTS)
    calls = []
    host.blocks[0].register_forward_hook(lambda *_: calls.append("block"))
    host.blocks[0].convolution.register_forward_hook(lambda *_: calls.append("convolution"))
    asked = CounterfactualSet(solo=True, committed=True, shapley=True)
    validate(host, split, asked, last=True)
    chunks = -(-len(split) // CHUNK)
    assert calls.count("block") == calls.count("convolution") == chunks


def test_only_blended_seeds_are_measured(make_setup_for):
    setup = make_setup_for()
    host = setup.build_host(3, torch.device("cpu"))
    for command in (Germinate(blueprint=Blueprint.NORM), Advance()):
        assert host.apply_command(SeedCommand(slot="r0c1", command=command)).accepted
    assert host.seed_reports()[1].stage.name == "TRAINING"
    assert active_slots(host.seed_reports()) == ()
    split = load_dataset(setup.task).validation
    validation = validate(host, split)
    assert validation.measurements == ()
    assert validation.counterfactuals == ()
    assert Op.PRUNE not in host.seed_reports()[1].permitted


def test_loss_and_accuracy_are_means_over_all_rows(make_setup_for):
    setup = make_setup_for()
    host = setup.build_host(5, torch.device("cpu"))
    data = load_dataset(setup.task)
    validation = read(
        score(host, data.train, ScoreRequest(disabled=FULL_ONLY.disabled), classes=10), FULL_ONLY
    )
    host.train(False)
    with torch.no_grad():
        logits = host(data.train.inputs)
    loss = torch.nn.functional.cross_entropy(logits, data.train.targets).item()
    assert validation.loss == pytest.approx(loss, rel=1e-5)
    assert validation.accuracy == pytest.approx(
        100.0 * (logits.argmax(-1) == data.train.targets).double().mean().item()
    )
