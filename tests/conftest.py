"""Fixtures of the tests at the top level."""

from __future__ import annotations

import shutil

import pytest

from . import wheel_helpers


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Every wheel of the workspace by its distribution's name."""
    return wheel_helpers.build_wheels(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def constraints(wheels, tmp_path_factory):
    """The lock's versions, and our own distributions as the wheels just built."""
    return wheel_helpers.write_constraints(wheels, tmp_path_factory.mktemp("constraints"))


@pytest.fixture(scope="module")
def install(constraints, tmp_path_factory):
    """Installs wheels and what they declare in a fresh environment; returns its ``bin``."""
    folder = tmp_path_factory.mktemp("environments")
    counter = iter(range(1000))

    def into_fresh_environment(*chosen):
        return wheel_helpers.install(folder / str(next(counter)), constraints, *chosen)

    yield into_fresh_environment
    shutil.rmtree(folder, ignore_errors=True)
