"""Checkpoints find a policy's blueprints by name, whatever else there is when they are loaded."""

from __future__ import annotations

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import BUILT_IN_BLUEPRINTS, override
from esper_leyline.actions import blueprint_rows
from esper_simic import PPO
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import find_task, make_setup
from esper_train.checkpoints.contents import EMBEDDING, align_state, check_state
from esper_train.errors import TrainError

HEAD = "policy.heads.blueprint.weight"
EMPTY = len(BUILT_IN_BLUEPRINTS)


def policy_of(config) -> RecurrentPolicy:
    torch.manual_seed(3)
    setup = make_setup(find_task(config.task).spec, config, build_host)
    return RecurrentPolicy(setup.environment_spec(host_parameters=1), config.policy)


def with_numbered_rows(manifest, state):
    """Gives every row of the tensors by blueprint its own number."""
    for name in (HEAD, EMBEDDING):
        tensor = state["policy"][name]
        tensor.copy_(torch.arange(len(tensor)).unsqueeze(1).expand_as(tensor))
    return manifest, state


@pytest.fixture
def added(small_config):
    return small_config(blueprints=["conv_light", "mine", "other"])


def test_a_row_moves_with_its_blueprint(sound_checkpoint, added):
    manifest, state = with_numbered_rows(*sound_checkpoint(added))
    swapped = override(added, {"blueprints": ["other", "conv_light", "mine"]})
    policy = policy_of(swapped)
    moved = align_state(state, manifest.blueprints, policy)
    head, embedding = moved["policy"][HEAD], moved["policy"][EMBEDDING]
    assert head[:, 0].tolist() == [*range(EMPTY), EMPTY + 1, EMPTY]
    assert embedding[:, 0].tolist() == [*range(EMPTY + 1), EMPTY + 2, EMPTY + 1]
    policy.load_state_dict(moved["policy"])


def test_a_new_blueprint_starts_as_in_a_new_policy(sound_checkpoint, small_config, added):
    manifest, state = with_numbered_rows(*sound_checkpoint(small_config()))
    policy = policy_of(added)
    fresh = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    moved = align_state(state, manifest.blueprints, policy)
    assert torch.equal(moved["policy"][HEAD][:EMPTY], state["policy"][HEAD])
    assert torch.equal(moved["policy"][HEAD][EMPTY:], fresh[HEAD][EMPTY:])
    assert torch.equal(moved["policy"][EMBEDDING][EMPTY + 1 :], fresh[EMBEDDING][EMPTY + 1 :])
    policy.load_state_dict(moved["policy"])
    ppo = PPO(policy, added.ppo)
    ppo.load_state_dict(moved["ppo"])
    for moments in moved["ppo"]["optimizer"]["means"]:
        assert moments.isfinite().all()


def test_a_removed_blueprint_loses_its_row(sound_checkpoint, small_config, added):
    manifest, state = with_numbered_rows(*sound_checkpoint(added))
    policy = policy_of(small_config())
    moved = align_state(state, manifest.blueprints, policy)
    assert moved["policy"][HEAD][:, 0].tolist() == [*range(EMPTY)]
    assert moved["policy"][EMBEDDING][:, 0].tolist() == [*range(EMPTY + 1)]


def test_a_checkpoint_from_before_a_built_in_blueprint_is_read(sound_checkpoint, small_config):
    """As if the last built-in blueprint had been added after the checkpoint was written."""
    manifest, state = with_numbered_rows(*sound_checkpoint(small_config()))
    names = BUILT_IN_BLUEPRINTS[:-1]
    keep = {HEAD: [*range(EMPTY - 1)], EMBEDDING: [*range(EMPTY - 1), EMPTY]}
    names_of = dict(policy_of(small_config()).named_parameters())
    keep["policy.heads.blueprint.bias"] = keep[HEAD]
    for name, rows in keep.items():
        state["policy"][name] = state["policy"][name][rows]
        index = list(names_of).index(name)
        for moments in ("means", "squares"):
            tensors = state["ppo"]["optimizer"][moments]
            tensors[index] = tensors[index][rows]
    count = sum(each.numel() for each in state["ppo"]["optimizer"]["means"])
    old = manifest.model_copy(update={"blueprints": (*names, None), "policy_parameters": count})
    read, moved = check_state(old, state)
    assert read.blueprints == blueprint_rows(())
    assert moved["policy"][EMBEDDING][-1, 0] == EMPTY  # the row of an empty slot
    assert moved["policy"][HEAD].shape[0] == EMPTY


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (("norm", None), "names 2 rows of blueprints, its policy has 14"),
        (("norm", "norm", None), "does not name every row of blueprints once"),
        (BUILT_IN_BLUEPRINTS, "and one without a blueprint"),
    ],
)
def test_blueprint_rows_that_do_not_fit_are_refused(rows, says, sound_checkpoint, small_config):
    manifest, state = sound_checkpoint(small_config())
    with pytest.raises(TrainError, match=says):
        check_state(manifest.model_copy(update={"blueprints": rows}), state)
