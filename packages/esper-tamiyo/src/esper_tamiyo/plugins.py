"""Controllers that other distributions add, by name."""

from __future__ import annotations

from collections.abc import Callable

from esper_leyline import Controller, EnvironmentSpec, Registry
from esper_leyline.registry import check_callable

ControllerFactory = Callable[[EnvironmentSpec], Controller]
"""Builds a controller for one host of an environment."""


def _check(_name: str, part: object) -> ControllerFactory:
    return check_callable(
        part,
        "a class or function that takes an EnvironmentSpec and returns a Controller",
    )


CONTROLLERS: Registry[ControllerFactory] = Registry("controller", "esper.controllers", _check)
"""Controllers of plugins, which declare them as entry points of ``esper.controllers``."""
