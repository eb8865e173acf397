"""What both kinds of environment ask of their callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esper_leyline import FactoredAction
from esper_tolaria.errors import TolariaError
from esper_tolaria.setup import Setup


def check_seeds(seeds: Sequence[int], environments: int) -> None:
    """Refuses no seeds and too many.

    Raises:
        TolariaError: If there is not between one seed and one an environment.
    """
    if not 1 <= len(seeds) <= environments:
        raise TolariaError(f"reset got {len(seeds)} seeds; give 1 to {environments}, one a host")


def check_actions(actions: Sequence[FactoredAction], hosts: int) -> None:
    """Refuses a step before any episode, and a wrong number of actions.

    Raises:
        TolariaError: If there is not one action a host.
    """
    if hosts == 0:
        raise TolariaError("no episode is under way; call reset with one seed a host first")
    if len(actions) != hosts:
        raise TolariaError(f"step got {len(actions)} actions for {hosts} hosts; give one a host")


def environment_state(setup: Setup) -> dict[str, Any]:
    """Returns what two environments must share for one to go on where the other stopped."""
    return {
        "task": setup.task.name,
        "slots": list(setup.slots),
        "max_epochs": setup.config.max_epochs,
        "environments": setup.config.n_envs,
    }


def check_state(state: Mapping[str, Any], setup: Setup) -> None:
    """Refuses the state of an environment that differs.

    Raises:
        TolariaError: On the first difference.
    """
    for name, mine in environment_state(setup).items():
        if state.get(name) != mine:
            raise TolariaError(
                f"the saved environment has {name} {state.get(name)!r}, this one {mine!r}; "
                "continue with the saved run's configuration"
            )
