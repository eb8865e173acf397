from __future__ import annotations

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from esper_leyline import FactoredAction
from esper_tolaria.gym.stable_baselines import StableBaselinesVecEnv


class Watch(BaseCallback):
    """Collects the infos of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[dict] = []

    def _on_step(self) -> bool:
        self.infos += self.locals["infos"]
        return True


def train(env, *, n_steps: int, total: int) -> tuple[Watch, bool]:
    """Trains a small policy; also says whether its weights moved and are finite."""
    watch = Watch()
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=n_steps, batch_size=n_steps, n_epochs=2, seed=3, device="cpu"
    )
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(total, callback=watch)
    after = list(model.policy.parameters())
    finite = all(torch.isfinite(value).all() for value in after)
    return watch, finite and any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.slow
def test_maskable_ppo_trains_on_hosts_side_by_side(make_vector):
    env = VecMonitor(StableBaselinesVecEnv(make_vector(max_epochs=12)))
    watch, learned = train(env, n_steps=24, total=384)
    assert learned
    assert len(watch.infos) == 384
    assert [info["rejected"] for info in watch.infos] == [False] * 384
    ended = [info for info in watch.infos if "episode" in info]
    assert len(ended) == 384 // 12
    assert all(info["episode"]["l"] == info["epoch"] == 12 for info in ended)
    assert all(info["terminal_observation"].shape == (158,) for info in ended)
    assert len({tuple(info["action"].tolist()) for info in watch.infos}) > 20


@pytest.mark.slow
def test_maskable_ppo_trains_on_one_host(make_single):
    watch, learned = train(Monitor(make_single(max_epochs=12)), n_steps=24, total=96)
    assert learned
    assert [info["rejected"] for info in watch.infos] == [False] * 96
    assert sum("episode" in info for info in watch.infos) == 8


def test_env_method_returns_the_masks(make_vector):
    vector = make_vector(n_envs=2)
    env = StableBaselinesVecEnv(vector)
    env.reset()
    assert is_masking_supported(env)
    assert np.array_equal(get_action_masks(env), vector.action_masks())
    assert len(env.env_method("action_masks", indices=[1])) == 1
    assert env.get_attr("render_mode") == [None, None]
    assert env.env_is_wrapped(Monitor) == [False, False]


def test_the_end_of_an_episode_uses_the_keys_of_stable_baselines(make_vector):
    env = StableBaselinesVecEnv(make_vector(n_envs=2, max_epochs=2))
    env.seed(40)
    fresh = env.reset()
    assert [info["seed"] for info in env.reset_infos] == [40, 41]
    waits = np.array([FactoredAction().indices()] * 2)
    dones, infos = env.step(waits)[2:]
    assert not dones.any()
    assert "terminal_observation" not in infos[0]
    observations, _, dones, infos = env.step(waits)
    assert dones.all()
    assert np.array_equal(observations, fresh)
    for info in infos:
        assert info["epoch"] == 2
        assert info["TimeLimit.truncated"] is False
        assert not np.array_equal(info["terminal_observation"], fresh[0])
    assert [info["epoch"] for info in env.reset_infos] == [0, 0]
    assert [info["seed"] for info in env.reset_infos] != [40, 41]


def test_wrong_calls_raise_clear_errors(make_vector, tolaria_error):
    env = StableBaselinesVecEnv(make_vector(n_envs=2))
    with tolaria_error("call step_async first"):
        env.step_wait()
    with tolaria_error("hosts have no method 'fly'"):
        env.env_method("fly")
    with tolaria_error("'speed' cannot be set to 3 for hosts 0"):
        env.set_attr("speed", 3, indices=0)
    with pytest.raises(AttributeError):
        env.get_attr("speed")
    env.set_options({"speed": 3})
    with tolaria_error("options speed"):
        env.reset()
    env.close()
    with tolaria_error("closed"):
        env.step(np.zeros((2, 8), dtype=np.int64))
