from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from stable_baselines3.common.env_checker import check_env as check_env_as_sb3

from esper_leyline import Blueprint, FactoredAction, Op

WAIT = np.array(FactoredAction().indices())
GERMINATE = np.array(
    FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.CONV_LIGHT).indices()
)
ADVANCE = np.array(FactoredAction(op=Op.ADVANCE, slot=2).indices())


def test_gymnasiums_checker_passes(make_single, register):
    env = gymnasium.make(register(entry_point=make_single))
    check_env(env.unwrapped)


def test_stable_baselines_checker_passes(make_single):
    check_env_as_sb3(make_single())


def test_two_environments_with_equal_seeds_match(make_single):
    envs = make_single(max_epochs=3), make_single(max_epochs=3)
    check_environments_match(*envs, num_steps=5, seed=4)


def test_it_equals_a_vector_environment_of_one_host(make_single, make_vector):
    single, vector = make_single(max_epochs=2), make_vector(n_envs=1, max_epochs=2)
    observation, info = single.reset(seed=9)
    observations, infos = vector.reset(seed=9)
    for action in (GERMINATE, WAIT):
        assert np.array_equal(observation, observations[0])
        assert np.array_equal(info["action_mask"], infos["action_mask"][0])
        assert np.array_equal(single.action_masks(), info["action_mask"])
        observation, reward, terminated, truncated, info = single.step(action)
        observations, rewards, terminations, _, infos = vector.step(action[np.newaxis])
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], False)
    assert terminated
    assert np.array_equal(observation, infos["final_obs"][0])
    assert info["epoch"] == infos["final_info"]["epoch"][0] == 2
    assert single.reset()[1]["seed"] == infos["seed"][0]


def test_an_action_on_an_invalid_slot_moves_to_the_nearest_valid_one(make_single):
    env = make_single()
    env.reset(seed=1)
    env.step(GERMINATE)
    assert env.report.seeds[1].permitted == (Op.ADVANCE,)
    info = env.step(ADVANCE)[-1]
    assert info["redirected"] is True
    assert info["rejected"] is False
    assert info["action"].tolist() == list(FactoredAction(op=Op.ADVANCE, slot=1).indices())
    info = env.step(WAIT)[-1]
    assert info["redirected"] is False
    assert (info["redirections"], info["rejections"]) == (1, 0)


def test_missing_values_are_left_out_of_the_info(make_single):
    env = make_single()
    _, info = env.reset(seed=1)
    assert not {"val_loss", "ended", "rollback", "rejection"} & set(info)
    info = env.step(WAIT)[-1]
    assert 0 <= info["val_accuracy"] <= 100
    assert "ended" not in info


def test_wrong_calls_raise_clear_errors(make_single, tolaria_error):
    env = make_single(max_epochs=1)
    for call in (lambda: env.step(WAIT), env.action_masks):
        with tolaria_error("call reset first"):
            call()
    with tolaria_error("seed is -3"):
        env.reset(seed=-3)
    with tolaria_error("options speed; it takes none"):
        env.reset(options={"speed": 2})
    env.reset(seed=1)
    with tolaria_error(r"shape \(1, 3\); give \(1, 8\)"):
        env.step(WAIT[:3])
    assert env.step(WAIT)[2] is True
    with tolaria_error("call reset first"):
        env.step(WAIT)
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(WAIT), env.action_masks):
        with tolaria_error("closed; build a new one"):
            call()
