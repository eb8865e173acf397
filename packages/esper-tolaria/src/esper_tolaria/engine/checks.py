"""Checks of the arguments of both kinds of environment."""

from __future__ import annotations

from collections.abc import Sequence

from esper_leyline import FactoredAction
from esper_tolaria.errors import TolariaError


def check_rng_seeds(rng_seeds: Sequence[int], environments: int) -> None:
    """Checks the number of random seeds.

    Raises:
        TolariaError: If there are none, or more than environments.
    """
    if not 1 <= len(rng_seeds) <= environments:
        raise TolariaError(
            f"reset got {len(rng_seeds)} random seeds; give 1 to {environments}, one per host"
        )


def check_actions(actions: Sequence[FactoredAction], hosts: int) -> None:
    """Checks that an episode was started and that there is one action per host.

    Raises:
        TolariaError: If there is not one action per host.
    """
    if hosts == 0:
        raise TolariaError("no episode is running; call reset with one seed per host first")
    if len(actions) != hosts:
        raise TolariaError(f"step got {len(actions)} actions for {hosts} hosts; give one per host")
