"""Random seeds of hosts: those of the caller, and those drawn for later episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.utils import seeding

from esper_tolaria.errors import TolariaError


class SeedStream:
    """The random seeds of one host's episodes.

    Attributes:
        generator: The source of the seeds.
        seed: The seed of the generator.
    """

    def __init__(self) -> None:
        self.generator, self.seed = seeding.np_random()

    def take(self, seed: int | None) -> int:
        """Returns the next host's seed: the given one, which restarts the stream, or a draw."""
        if seed is None:
            return draw_seed(self.generator)
        self.generator, self.seed = seeding.np_random(seed)
        return seed


def draw_seed(generator: np.random.Generator) -> int:
    """Returns a random host seed."""
    return int(generator.integers(2**31))


def check_seed(seed: Any) -> int | None:
    """Returns a seed as an int, ``None`` as it is.

    Raises:
        TolariaError: If it is not a whole number from 0.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise TolariaError(f"seed is {seed!r}; give a whole number from 0, or None")
    return int(seed)


def spread_seeds(seed: Any, hosts: int) -> list[int | None]:
    """Returns one seed per host: a number is increased by one per host, as in gymnasium.

    Raises:
        TolariaError: If a list does not have one seed per host, or a seed is not a whole number.
    """
    if seed is None:
        return [None] * hosts
    if isinstance(seed, list | tuple | np.ndarray):
        if len(seed) != hosts:
            raise TolariaError(f"reset got {len(seed)} seeds for {hosts} hosts; give one per host")
        return [check_seed(each) for each in seed]
    first = check_seed(seed)
    assert first is not None
    return [first + index for index in range(hosts)]
