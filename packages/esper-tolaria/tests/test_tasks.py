from __future__ import annotations

import pytest

from esper_kasmina import build_host
from esper_leyline import (
    HOST_SPECS,
    TOPOLOGY_BLUEPRINTS,
    BlendStyle,
    LifecycleRules,
    Topology,
    preset,
)
from esper_tolaria import TASKS, TolariaError, get_task
from esper_tolaria.datasets import SOURCES

PARAMETERS = {
    "mnist1d": 818,
    "mnist1d_blind": 794,
    "mnist1d_shuffled": 818,
    "digits": 802,
    "topics": 29_400,
    "fashion_mnist": 1_362,
    "fashion_mnist_blind": 642,
    "cifar10": 6_418,
    "cifar10_deep": 99_922,
    "cifar10_blind": 3_482,
    "tinystories": 30_044_544,
}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_carries_its_own_name_and_known_data(name):
    task = get_task(name)
    assert task.name == name
    assert task.data.name in SOURCES
    assert task.host == HOST_SPECS[name]
    assert preset(name).task == name
    if task.host.topology is Topology.TRANSFORMER:
        assert task.data.input_shape == (task.host.block,)
        assert task.data.classes == task.host.vocabulary
    else:
        assert task.data.input_shape == task.host.input_shape
        assert task.data.classes == task.host.classes


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_opens_three_slots_or_more_to_all_that_fits(name):
    task = get_task(name)
    assert task.slots == task.host.slots
    assert len(task.slots) >= 3
    assert set(task.blueprints) == set(TOPOLOGY_BLUEPRINTS[task.host.topology])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_size_of_a_host_is_the_one_stated(name):
    task = get_task(name)
    host = build_host(task.host, slots=task.slots, rules=LifecycleRules(), max_seeds=None, seed=0)
    assert host.parameter_counts().host == PARAMETERS[name]


@pytest.mark.parametrize("name", ["mnist1d_blind", "fashion_mnist_blind", "cifar10_blind"])
def test_a_blind_host_sees_one_point_at_a_time(name):
    assert get_task(name).host.kernel == 1
    assert get_task(name.removesuffix("_blind")).host.kernel > 1


def test_every_style_is_open_but_where_results_are_to_stay():
    styles = {name: set(get_task(name).styles) for name in TASKS}
    assert styles.pop("mnist1d_blind") == {BlendStyle.LINEAR_ADD, BlendStyle.SIGMOID_ADD}
    assert all(open_ones == set(BlendStyle) for open_ones in styles.values())


def test_colour_pictures_are_augmented_and_nothing_else_is():
    augmented = {n for n in TASKS if not get_task(n).training.augmentation.changes_nothing}
    assert augmented == {"cifar10", "cifar10_deep", "cifar10_blind"}


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(TolariaError, match=r"unknown task 'mnist1' \(did you mean 'mnist1d'\?\)"):
        get_task("mnist1")
