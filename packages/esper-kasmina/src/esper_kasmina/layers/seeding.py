"""Randomness that follows from named parts alone, apart from torch's global generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """Mixes any number of parts into one 63-bit seed, the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Draws from a generator of its own while modules are built on the CPU.

    Module constructors only know torch's global CPU generator, so that one is seeded
    inside and put back afterwards. ``torch.manual_seed`` would reach the accelerators'
    generators too and is avoided.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(derive_seed(*parts))
    try:
        yield
    finally:
        torch.set_rng_state(before)
