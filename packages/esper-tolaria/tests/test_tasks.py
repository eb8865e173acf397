from __future__ import annotations

import subprocess
import sys

import pytest

from esper_kasmina import build_host
from esper_leyline import BlendStyle, HostOptions, Topology, override, read_config
from esper_leyline.actions import TOPOLOGY_BLUEPRINTS
from esper_tolaria import TolariaError, find_preset, find_task, preset_names, task_names

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


@pytest.mark.parametrize("name", task_names())
def test_a_task_has_the_name_of_its_module_and_fits_its_data(name):
    task = find_task(name).spec
    assert task.name == name
    assert find_preset(name).task == name
    if task.host.topology is Topology.TRANSFORMER:
        assert task.data.input_shape == (task.host.block,)
        assert task.data.classes == task.host.vocabulary
    else:
        assert task.data.input_shape == task.host.input_shape
        assert task.data.classes == task.host.classes


@pytest.mark.parametrize("name", task_names())
def test_a_task_enables_three_slots_or_more_and_all_blueprints_that_fit(name):
    task = find_task(name).spec
    assert task.slots == task.host.slots
    assert len(task.slots) >= 3
    assert set(task.blueprints) == set(TOPOLOGY_BLUEPRINTS[task.host.topology])


@pytest.mark.parametrize("name", task_names())
def test_hosts_have_the_documented_number_of_parameters(name):
    task = find_task(name).spec
    host = build_host(task.host, HostOptions(slots=task.slots))
    assert host.parameter_counts().host == PARAMETERS[name]


@pytest.mark.parametrize("name", ["mnist1d_blind", "fashion_mnist_blind", "cifar10_blind"])
def test_a_blind_host_sees_one_point_at_a_time(name):
    assert find_task(name).spec.host.kernel == 1
    assert find_task(name.removesuffix("_blind")).spec.host.kernel > 1


def test_all_styles_are_allowed_except_for_mnist1d_blind():
    styles = {name: set(find_task(name).spec.styles) for name in task_names()}
    assert styles.pop("mnist1d_blind") == {BlendStyle.LINEAR_ADD, BlendStyle.SIGMOID_ADD}
    assert all(open_ones == set(BlendStyle) for open_ones in styles.values())


def test_only_cifar10_is_augmented():
    augmented = {
        n for n in task_names() if not find_task(n).spec.training.augmentation.changes_nothing
    }
    assert augmented == {"cifar10", "cifar10_deep", "cifar10_blind"}


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(TolariaError, match=r"unknown task 'mnist1' \(did you mean 'mnist1d'\?\)"):
        find_task("mnist1")


def test_every_task_has_a_preset_of_its_name_and_cifar10_a_second_one():
    tasks = {name: find_preset(name).task for name in preset_names()}
    assert tasks == {"cifar10_stable": "cifar10"} | {name: name for name in task_names()}
    assert set(task_names()) == set(PARAMETERS)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_a_file(tmp_path, name):
    path = tmp_path / "config.json"
    path.write_text(find_preset(name).model_dump_json(), encoding="utf-8")
    assert read_config(path) == find_preset(name)


def test_the_stable_preset_is_slower():
    ppo = find_preset("cifar10_stable").ppo
    assert (ppo.learning_rate, ppo.clip) == (1e-4, 0.1)
    assert (ppo.entropy_coefficient, ppo.entropy_final) == (0.06, 0.03)


def test_small_presets_differ_in_their_task_only():
    blind = find_preset("mnist1d_blind")
    assert blind.ppo.epochs > 1
    assert blind.n_episodes >= 20
    for name in ("mnist1d", "mnist1d_shuffled", "digits", "fashion_mnist", "topics"):
        assert override(find_preset(name), {"task": "mnist1d_blind"}) == blind


def test_an_unknown_preset_names_the_nearest_and_all():
    with pytest.raises(TolariaError) as caught:
        find_preset("cifar")
    assert str(caught.value).startswith("unknown preset 'cifar' (did you mean 'cifar10'?)")
    assert all(name in str(caught.value) for name in preset_names())


def test_tasks_and_presets_are_listed_without_torch():
    code = (
        "import sys\n"
        "from esper_tolaria import find_task, preset_names, task_names\n"
        "specs = [find_task(name).spec for name in task_names()]\n"
        "print(len(specs), len(preset_names()), sorted({'torch', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "11 12 []\n", done.stderr
