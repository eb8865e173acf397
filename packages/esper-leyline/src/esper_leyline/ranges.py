"""The ranges of settings: every number that a user may set has a lower and an upper bound.

The bounds are far beyond sensible values; they keep a slip of the finger (10⁹ environments)
from becoming a process that hangs or runs out of memory.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST_EPOCHS = 10_000
MOST_ROUNDS = 1_000_000
MOST_ENVIRONMENTS = 1024
MOST_HEADS = 64
MOST_SLOTS = 64
MOST_DEVICES = 64
MOST_BLUEPRINTS = 64

Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
"""Epochs of a host, at least one."""

Rounds = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]
"""PPO rounds of a run."""

Environments = Annotated[int, Field(ge=1, le=MOST_ENVIRONMENTS)]
"""Hosts that train side by side."""

Episodes = Annotated[int, Field(ge=0, le=MOST_ROUNDS * MOST_ENVIRONMENTS)]
"""Episodes of a run; 0 switches a schedule off."""

Batches = Annotated[int, Field(ge=0, le=1_000_000)]
"""Batches of an epoch; 0 is all of them."""

Parameters = Annotated[int, Field(ge=1, le=10**12)]
"""Parameters of a network."""

Width = Annotated[int, Field(ge=1, le=65_536)]
"""Features or channels of a layer, or values along an axis of an input."""

Rows = Annotated[int, Field(ge=1, le=10**10)]
"""Rows of a data set."""

Classes = Annotated[int, Field(ge=2, le=10_000_000)]
"""Values that a target may take."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""

Weight = Annotated[float, Field(ge=0, le=1e6)]
"""A factor or a bonus; 0 switches it off."""

Positive = Annotated[float, Field(gt=0, le=1e6)]
"""A threshold, a tolerance or a limit."""

Points = Annotated[float, Field(ge=-100, le=100)]
"""A difference of two accuracies, in percentage points."""

LearningRate = Annotated[float, Field(gt=0, le=10)]
"""Step size of an optimiser."""

Name = Annotated[str, Field(min_length=1, max_length=128)]
"""A short name, such as that of a task or a device."""

RunId = Annotated[str, Field(min_length=1, max_length=255)]
"""Name of a run's folder, or of the folder of a comparison."""

Line = Annotated[str, Field(max_length=4096)]
"""A description in words."""

FolderPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
"""Path of a folder."""

Shape = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=3)]
"""Shape of one row of a data set, without the batch axis."""

Widths = Annotated[tuple[Width, ...], Field(min_length=1, strict=False, max_length=MOST_SLOTS)]
"""Width of each block of a host."""
