"""Sequences of tokens, each with the token after it as its target."""

from __future__ import annotations

from torch import Tensor

from esper_leyline import DataSpec
from esper_tolaria.datasets.splits import Split
from esper_tolaria.errors import TolariaError


def tokens_needed(spec: DataSpec, rows: int) -> int:
    """Returns the number of tokens that ``rows`` rows need: their inputs, and the last target."""
    return rows * spec.input_shape[0] + 1


def cut_tokens(tokens: Tensor, spec: DataSpec, rows: int, *, place: str) -> Split:
    """Cuts the beginning of a text into consecutive rows.

    Args:
        tokens: [N] int64.
        spec: ``input_shape`` is the length of a row.
        rows: Number of rows.
        place: The source of the text, for error messages.

    Raises:
        TolariaError: If the text is too short.
    """
    needed = tokens_needed(spec, rows)
    if len(tokens) < needed:
        raise TolariaError(
            f"data set '{spec.name}' needs {needed} tokens for {rows} rows, and {place} has "
            f"{len(tokens)}; provide more text"
        )
    inputs, targets = tokens[: needed - 1], tokens[1:needed]
    length = spec.input_shape[0]
    return Split(inputs.reshape(rows, length).clone(), targets.reshape(rows, length).clone())
