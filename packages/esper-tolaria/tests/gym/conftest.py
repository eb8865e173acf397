"""Gymnasium views of real hosts, with Tamiyo's encoder and Simic's reward."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from esper_leyline import Environment, observation_size
from esper_leyline.actions import NULL_BLUEPRINT
from esper_simic import build_reward
from esper_tamiyo import CEILING, ObservationEncoder
from esper_tolaria import TolariaError, find_preset
from esper_tolaria.gym import Encode, HostEnv, HostVectorEnv

FEATURES = observation_size(3) + 3 * (NULL_BLUEPRINT + 1)


def encoder_of(environment: Environment) -> Encode:
    """Obs V3, and each slot's blueprint one-hot."""
    encoder = ObservationEncoder(environment.spec)

    def encode(reports):
        seen = encoder.encode(reports)
        blueprints = torch.nn.functional.one_hot(seen.blueprints, NULL_BLUEPRINT + 1)
        return torch.cat((seen.features, blueprints.flatten(1)), dim=1).numpy()

    return encode


@pytest.fixture(scope="session")
def space() -> Box:
    return Box(-CEILING, CEILING, (FEATURES,))


@pytest.fixture(scope="session")
def reward():
    config = find_preset("mnist1d")
    return build_reward(config.reward, gamma=config.ppo.gamma)


@pytest.fixture
def make_single(make_local, reward, space) -> Callable[..., HostEnv]:
    """One host; arguments change the configuration."""

    def make(**changes: object) -> HostEnv:
        environment = make_local(**{"n_envs": 1} | changes)
        return HostEnv(environment, encoder_of(environment), reward, space)

    return make


@pytest.fixture
def make_vector(make_local, reward, space) -> Callable[..., HostVectorEnv]:
    """Hosts side by side, four if nothing else is said; arguments change the configuration."""

    def make(**changes: object) -> HostVectorEnv:
        environment = make_local(**changes)
        return HostVectorEnv(environment, encoder_of(environment), reward, space)

    return make


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """Draws one open choice a head for each of the masks [K, sum of sizes]."""

    def sample(masks, sizes, generator):
        ends = np.cumsum(sizes)[:-1]
        heads = [np.split(mask, ends) for mask in masks]
        return np.array(
            [[generator.choice(np.flatnonzero(head)) for head in each] for each in heads]
        )

    return sample


@pytest.fixture(scope="session")
def tolaria_error() -> Callable[..., object]:
    """Expects a one-line ``TolariaError`` that matches."""

    @contextmanager
    def expect(message: str):
        with pytest.raises(TolariaError, match=message) as caught:
            yield
        assert "\n" not in str(caught.value)

    return expect


@pytest.fixture
def register():
    """Registers an environment with gymnasium for one test; returns its id."""
    names = []

    def enter(**points: object) -> str:
        names.append(f"EsperTest{len(names)}-v0")
        gymnasium.register(names[-1], **points)
        return names[-1]

    yield enter
    for name in names:
        del gymnasium.registry[name]
