"""Whether a run's process is alive: what a log alone does not tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from esper_leyline.wire import WIRE_CONFIG

ConditionName = Literal["waiting", "live", "stale", "crashed", "ended"]
"""How a run stands for those who look at it; ``waiting`` before its first round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a run stands for those who look at it.

    Attributes:
        text: In one line, for people.
        resume: The command that resumes it, ``None`` if there is none.
    """

    __pydantic_config__ = WIRE_CONFIG

    condition: ConditionName
    text: str
    resume: str | None = None
