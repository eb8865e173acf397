"""Python's own help texts, which ``help('topics')`` lists, byte by byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esper_leyline import DataSpec
from esper_tolaria.datasets.splits import SPLIT_SEED, Dataset
from esper_tolaria.datasets.tokens import cut_tokens, tokens_needed

_BREAK = "\n\n"


def load_topics(spec: DataSpec, _root: Path) -> Dataset:
    """Distributes the paragraphs over the splits and cuts each split into rows.

    Many topics repeat paragraphs of others. Each paragraph is used once, so that no split contains
    text of another.

    Raises:
        TolariaError: If this Python's texts are too short.
    """
    paragraphs = iter(_paragraphs())
    test, validation, train = (
        cut_tokens(
            _text(paragraphs, tokens_needed(spec, rows)),
            spec,
            rows,
            place="this Python's pydoc_data.topics",
        )
        for rows in (spec.test_size, spec.validation_size, spec.train_size)
    )
    return Dataset(train=train, validation=validation, test=test, rng_seed=SPLIT_SEED)


def _paragraphs() -> list[str]:
    """Returns the paragraphs without duplicates, in a fixed random order."""
    from pydoc_data.topics import topics  # noqa: PLC0415 - megabytes that few runs need

    whole = _BREAK.join(topics[name].strip() for name in sorted(topics))
    unique = list(dict.fromkeys(re.split(r"\n\s*\n", whole)))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(unique))
    return [unique[index] for index in order]


def _text(paragraphs: Iterator[str], size: int) -> Tensor:
    """Takes whole paragraphs until there are ``size`` bytes, or until there are no more."""
    taken = bytearray()
    for paragraph in paragraphs:
        taken += f"{paragraph}{_BREAK}".encode()
        if len(taken) >= size:
            break
    return torch.frombuffer(taken, dtype=torch.uint8).long()
