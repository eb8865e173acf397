from __future__ import annotations

import pytest

from esper_kasmina import build_host
from esper_leyline import TOPOLOGY_BLUEPRINTS, LifecycleRules, Topology, preset
from esper_tolaria import TASKS, TolariaError, get_task
from esper_tolaria.datasets import LOADERS


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_carries_its_own_name_and_known_data(name):
    task = get_task(name)
    assert task.name == name
    assert task.data.name in LOADERS
    assert task.data.input_shape == task.host.input_shape
    assert task.data.classes == task.host.classes
    assert preset(name).task == name


def test_mnist1d_is_blind_small_and_open_to_every_cnn_blueprint():
    task = get_task("mnist1d")
    host = build_host(task.host, slots=task.slots, rules=LifecycleRules(), max_seeds=None, seed=0)
    assert task.host.kernel == 1
    assert host.parameter_counts().host < 1000
    assert set(task.blueprints) == set(TOPOLOGY_BLUEPRINTS[Topology.CNN])
    assert task.slots == host.slots == ("r0c0", "r0c1", "r0c2")


@pytest.mark.parametrize("name", ["cifar10", "cifar10_deep", "cifar10_blind", "tinystories"])
def test_tasks_of_later_versions_say_so(name):
    with pytest.raises(TolariaError) as caught:
        get_task(name)
    assert str(caught.value) == (
        f"task '{name}' comes with a later version of esper-tolaria; this one has: mnist1d"
    )


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(TolariaError, match=r"unknown task 'mnist1' \(did you mean 'mnist1d'\?\)"):
        get_task("mnist1")
