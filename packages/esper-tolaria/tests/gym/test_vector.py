from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import MultiDiscrete
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from esper_kasmina import build_host
from esper_leyline import HEADS, Blueprint, FactoredAction, Op, RewardBreakdown
from esper_tolaria import build_environment
from esper_tolaria.gym import HostVectorEnv

WAIT = FactoredAction().indices()
GERMINATE = FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.CONV_LIGHT).indices()


def waits(env: HostVectorEnv) -> np.ndarray:
    return np.array([WAIT] * env.num_envs)


def play_masked(env, draw, *, seed, steps):
    """Plays at random under the masks; returns every step's answer, the reset's first."""
    generator = np.random.default_rng(seed)
    observations, infos = env.reset(seed=seed)
    answers = [(observations, None, None, None, infos)]
    for _ in range(steps):
        actions = draw(answers[-1][-1]["action_mask"], env.single_action_space.nvec, generator)
        answers.append(env.step(actions))
    return answers


def test_spaces_match_the_heads_and_the_encoder(make_vector, space):
    env = make_vector(n_envs=2)
    assert env.num_envs == 2
    assert env.single_action_space == MultiDiscrete([6, 3, 13, 4, 3, 3, 4, 5])
    assert env.action_space.shape == (2, len(HEADS))
    assert env.single_observation_space == space
    assert env.observation_space.shape == (2, *space.shape)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_results_have_the_shapes_of_gymnasium(make_vector, draw):
    env = make_vector(n_envs=3, max_epochs=3)
    for observations, rewards, terminated, truncated, infos in play_masked(
        env, draw, seed=1, steps=4
    ):
        assert observations in env.observation_space
        assert infos["action_mask"].shape == (3, 41)
        assert infos["_action_mask"].all()
        assert np.array_equal(infos["slot_mask"].any(axis=2), infos["action_mask"][:, :6])
        if rewards is not None:
            assert (rewards.shape, rewards.dtype) == ((3,), np.float64)
            assert (terminated.shape, terminated.dtype) == ((3,), np.bool_)
            assert (truncated.shape, truncated.dtype) == ((3,), np.bool_)
            assert not truncated.any()


def test_returned_arrays_are_not_changed_later(make_vector, draw):
    env = make_vector(n_envs=2)
    first, second = play_masked(env, draw, seed=1, steps=1)
    assert not np.shares_memory(first[0], second[0])
    assert not np.shares_memory(first[-1]["action_mask"], second[-1]["action_mask"])
    second[-1]["action_mask"][:] = False
    assert env.action_masks().any(axis=1).all()


def test_an_action_sampled_under_the_masks_is_never_rejected(make_vector, draw):
    env = make_vector(max_epochs=10, lifecycle={"min_prune_age": 1, "embargo_ticks": 1})
    answers = play_masked(env, draw, seed=2, steps=20)
    taken = [info.get("final_info", info) for *_, info in answers[1:]]
    executed = np.concatenate([info["action"] for info in taken])
    assert len(set(executed[:, 0].tolist())) >= 4
    finals = [answer[-1]["final_info"] for answer in answers if "final_info" in answer[-1]]
    assert [final["epoch"].tolist() for final in finals] == [[10] * 4] * 2
    assert sum(final["rejections"].sum() for final in finals) == 0
    assert sum(final["redirections"].sum() for final in finals) > 0


@pytest.mark.slow
def test_no_action_of_a_long_masked_episode_is_rejected(make_vector, draw):
    env = make_vector(max_epochs=40, lifecycle={"min_prune_age": 2, "embargo_ticks": 2})
    answers = play_masked(env, draw, seed=3, steps=400)
    finals = [answer[-1]["final_info"] for answer in answers if "final_info" in answer[-1]]
    assert len(finals) == 10
    assert sum(final["rejections"].sum() for final in finals) == 0


def test_the_horizon_terminates_and_starts_the_next_episode(make_vector):
    env = make_vector(n_envs=2, max_epochs=2)
    fresh, _ = env.reset(seed=[7, 8])
    env.step(waits(env))
    observations, _, terminated, truncated, infos = env.step(waits(env))
    assert terminated.all()
    assert not truncated.any()
    assert np.array_equal(observations, fresh)
    final = infos["final_info"]
    assert final["epoch"].tolist() == [2, 2]
    assert final["seed"].tolist() == [7, 8]
    assert final["ended"].tolist() == ["horizon"] * 2
    assert [row in env.single_observation_space for row in infos["final_obs"]] == [True, True]
    assert not np.array_equal(infos["final_obs"][0], fresh[0])
    assert infos["epoch"].tolist() == [0, 0]
    assert not {7, 8} & set(infos["seed"].tolist())
    assert "action" not in infos
    assert not env.step(waits(env))[2].any()


def test_rewards_and_their_components_come_from_the_function(make_vector):
    env = make_vector(n_envs=2)
    env.reset(seed=3)
    _, rewards, _, _, infos = env.step(np.array([GERMINATE, WAIT]))
    parts = infos["reward_components"]
    names = [name for name in parts if not name.startswith("_")]
    assert sum(parts[name] for name in names) == pytest.approx(rewards)
    assert rewards[0] != rewards[1]
    assert infos["action"].tolist() == [list(GERMINATE), list(WAIT)]


def test_a_seed_determines_all_later_episodes(make_vector, draw):
    first = play_masked(make_vector(n_envs=2, max_epochs=2), draw, seed=5, steps=5)
    env = make_vector(n_envs=2, max_epochs=2)
    play_masked(env, draw, seed=6, steps=3)
    again = play_masked(env, draw, seed=5, steps=5)
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one[0], other[0])
        assert one[-1]["seed"].tolist() == other[-1]["seed"].tolist()
    assert first[0][-1]["seed"].tolist() == [5, 6]
    assert first[2][-1]["seed"].tolist() == first[3][-1]["seed"].tolist()
    assert len({int(seed) for index in (0, 2, 4) for seed in first[index][-1]["seed"]}) == 6
    assert env.np_random_seed == (5, 6)


def test_a_reset_without_a_seed_draws_the_next_one(make_vector):
    envs = [make_vector(n_envs=2) for _ in range(3)]
    seeds = []
    for env, seed in zip(envs, (5, 5, None), strict=True):
        env.reset(seed=seed)
        seeds.append(env.reset()[1]["seed"].tolist())
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_host_does_not_depend_on_its_neighbours(make_vector):
    env = make_vector(n_envs=3, max_epochs=2)
    together = [env.reset(seed=20)]
    together += [env.step(np.array([GERMINATE, WAIT, GERMINATE])) for _ in range(3)]
    for index, action in enumerate((GERMINATE, WAIT, GERMINATE)):
        alone = make_vector(n_envs=1, max_epochs=2)
        answers = [alone.reset(seed=20 + index)]
        answers += [alone.step(np.array([action])) for _ in range(3)]
        for joint, single in zip(together, answers, strict=True):
            assert np.array_equal(joint[0][index], single[0][0])
            assert joint[-1]["seed"][index] == single[-1]["seed"][0]


@pytest.fixture
def stopped(make_vector):
    """Two hosts, of which the governor has just stopped the first after two epochs of five."""
    env = make_vector(n_envs=2, max_epochs=5)
    fresh, _ = env.reset(seed=[1, 2])
    env.step(waits(env))
    with torch.no_grad():
        host = env._environment._episodes[0]._host
        host.blocks[0].convolution.weight[0] = math.nan
    return env, fresh, env.step(np.array([GERMINATE, WAIT]))


def test_after_the_governor_terminates_an_episode_the_fresh_host_waits(stopped):
    env, fresh, (observations, rewards, terminated, truncated, infos) = stopped
    assert terminated.tolist() == [True, False]
    assert not truncated.any()
    assert math.isfinite(rewards[0])
    assert infos["_final_info"].tolist() == [True, False]
    assert infos["final_info"]["ended"][0] == "governor"
    assert infos["final_info"]["rollback"][0] == "non_finite"
    assert infos["final_info"]["action"][0].tolist() == list(GERMINATE)
    assert infos["final_obs"][0] in env.single_observation_space
    assert infos["final_obs"][1] is None
    assert np.array_equal(observations[0], fresh[0])
    for waited in range(3):
        assert infos["waiting"].tolist() == [True, False]
        assert infos["waited"].tolist() == [waited, 0]
        assert infos["epoch"].tolist() == [0, 2 + waited]
        assert infos["action_mask"][0].sum() == len(HEADS)
        observations, rewards, terminated, _, infos = env.step(np.array([GERMINATE, WAIT]))
        assert rewards[0] == 0
        assert terminated.tolist() == [False, waited == 2]
        assert np.array_equal(observations[0], fresh[0])
        assert infos["rejections"].tolist() == [waited + 1, 0]
        assert "only WAIT" in infos["rejection"][0]
    assert infos["waiting"].tolist() == [False, False]
    assert infos["waited"].tolist() == [3, 0]
    assert infos["epoch"].tolist() == [0, 0]


def test_waiting_does_not_change_an_episode(stopped, make_vector):
    env, _, answer = stopped
    seed = int(answer[-1]["seed"][0])
    for _ in range(3):
        answer = env.step(waits(env))
    assert answer[-1]["seed"][0] == seed
    assert answer[-1]["rejections"].tolist() == [0, 0]
    alone = make_vector(n_envs=1, max_epochs=5)
    expected, _ = alone.reset(seed=seed)
    assert np.array_equal(answer[0][0], expected[0])
    for _ in range(5):
        joint, single = env.step(np.array([GERMINATE, WAIT])), alone.step(np.array([GERMINATE]))
        assert np.array_equal(joint[0][0], single[0][0])
        assert joint[1][0] == single[1][0]
    assert joint[2][0]
    assert joint[-1]["final_info"]["waited"].tolist() == [3, 0]


def test_a_single_host_restarts_without_waiting(make_vector):
    env = make_vector(n_envs=1, max_epochs=5)
    env.reset(seed=1)
    with torch.no_grad():
        env._environment._episodes[0]._host.classifier.bias[0] = math.nan
    _, _, terminated, _, infos = env.step(waits(env))
    assert terminated.tolist() == [True]
    assert infos["waiting"].tolist() == [False]
    assert env.step(waits(env))[-1]["epoch"].tolist() == [1]


def test_a_masked_op_is_rejected_and_counted(make_vector):
    env = make_vector(n_envs=2)
    env.reset(seed=1)
    fossilize = FactoredAction(op=Op.FOSSILIZE).indices()
    infos = env.step(np.array([fossilize, WAIT]))[-1]
    assert infos["rejected"].tolist() == [True, False]
    assert infos["rejections"].tolist() == [1, 0]
    assert "HOLDING" in infos["rejection"][0]
    assert infos["_rejection"].tolist() == [True, False]
    assert infos["epoch"].tolist() == [1, 1]


def test_wrappers_of_gymnasium_accept_it(make_vector):
    env = RecordEpisodeStatistics(make_vector(n_envs=2, max_epochs=2))
    env.reset(seed=1)
    paid = env.step(waits(env))[1]
    _, rewards, _, _, infos = env.step(waits(env))
    assert infos["episode"]["l"].tolist() == [2, 2]
    assert infos["episode"]["r"] == pytest.approx(paid + rewards)
    listed = DictInfoToList(env).step(waits(env))[-1]
    assert [info["epoch"] for info in listed] == [1, 1]


def test_make_vec_builds_it(make_vector, register):
    name = register(vector_entry_point=lambda num_envs: make_vector(n_envs=num_envs))
    env = gymnasium.make_vec(name, 2, vectorization_mode="vector_entry_point")
    observations, _ = env.reset(seed=1)
    assert observations in env.observation_space
    env.close()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([WAIT], r"shape \(1, 8\); give \(2, 8\): hosts by heads \(op, slot"),
        ([WAIT[:7]] * 2, r"shape \(2, 7\)"),
        (np.zeros((2, 8)), "type float64; give integers"),
        ([WAIT, (0, 3, *WAIT[2:])], "host 1 has slot 3; indices of that head are 0 to 2"),
        ([(-1, *WAIT[1:]), WAIT], "host 0 has op -1; indices of that head are 0 to 5"),
    ],
)
def test_actions_of_a_wrong_shape_or_range_are_an_error(
    make_vector, tolaria_error, actions, message
):
    env = make_vector(n_envs=2)
    env.reset(seed=1)
    with tolaria_error(message):
        env.step(actions)


def test_wrong_calls_raise_clear_errors(make_vector, tolaria_error):
    env = make_vector(n_envs=2)
    for call in (lambda: env.step(waits(env)), env.action_masks):
        with tolaria_error("call reset first"):
            call()
    for seed, message in (
        ([1], "1 seeds for 2 hosts"),
        (-1, "seed is -1; give a whole number from 0"),
        ([1, "two"], "seed is 'two'"),
        (True, "seed is True"),
    ):
        with tolaria_error(message):
            env.reset(seed=seed)
    with tolaria_error("options reset_mask; it takes none"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.close()
    env.close()
    for call in (env.reset, lambda: env.step(waits(env)), env.action_masks):
        with tolaria_error("closed; build a new one"):
            call()


def test_encoded_rows_must_fit_the_space(make_local, reward, space, tolaria_error):
    environment = make_local(n_envs=2)

    def build(encode, box=None):
        return HostVectorEnv(environment, encode, reward, box)

    with tolaria_error(r"shape \(3,\) for one report; return \[1, \.\.\.\]"):
        build(lambda reports: np.zeros(3))
    with tolaria_error(r"shape \(2, 3\) for 2 reports; return \(2, 158\)"):
        build(lambda reports: np.zeros((len(reports), 3)), space).reset()
    broken = build(lambda reports: [[report.val_loss or math.nan] for report in reports])
    with tolaria_error("not finite for environment 0"):
        broken.reset()


def test_the_default_space_has_the_shape_of_a_fresh_hosts_row(make_local, reward):
    env = HostVectorEnv(
        make_local(n_envs=2), lambda reports: [[each.epoch, 2.0] for each in reports], reward
    )
    assert env.single_observation_space.shape == (2,)
    assert env.reset()[0].tolist() == [[0, 2], [0, 2]]


def test_a_reward_that_is_not_finite_is_an_error(make_local, tolaria_error):
    def pay(previous, action, current):
        return RewardBreakdown(components={"loss": math.nan})

    env = HostVectorEnv(make_local(n_envs=1), lambda reports: [[0.0]] * len(reports), pay)
    env.reset()
    with tolaria_error("environment 0 in epoch 1 is nan"):
        env.step(waits(env))


@pytest.mark.slow
def test_worker_processes_give_the_same_results(task, make_config, make_vector, reward, draw):
    local = make_vector(n_envs=3, max_epochs=4)
    config = make_config(n_envs=3, max_epochs=4)
    workers = build_environment(task, config, build_host, "cpu", workers=2)
    sharded = HostVectorEnv(workers, local._observe._encode, reward, local.single_observation_space)
    try:
        pairs = [play_masked(env, draw, seed=4, steps=9) for env in (local, sharded)]
    finally:
        sharded.close()
    for one, other in zip(*pairs, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-4)
        assert one[-1]["seed"].tolist() == other[-1]["seed"].tolist()
