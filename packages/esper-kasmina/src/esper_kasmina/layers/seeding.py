"""Random numbers that do not depend on the state of torch's global generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """Returns a 63-bit random seed that is a hash of the parts, the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Seeds torch's global CPU generator in the block, and restores its state afterwards.

    Constructors of modules draw from this generator. ``torch.manual_seed`` is not used, because it
    seeds the generators of accelerators too.

    Args:
        parts: What the random seed is made of.
    """
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(derive_seed(*parts))
    try:
        yield
    finally:
        torch.set_rng_state(before)
