from __future__ import annotations

import pytest
import torch

from .rollout_helpers import play
from .toy_environments import PuzzleEnvironment, bandit_reward, small_policy


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Networks this small only lose by being split over threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world():
    return PuzzleEnvironment(environments=6, length=5, open_steps=4, fail_at={1: 3, 4: 2})


@pytest.fixture(scope="module")
def policy(world):
    return small_policy(world, floor=0.1)


@pytest.fixture(scope="module")
def rollout(world, policy):
    return play(world, policy, bandit_reward)
