"""How a run of rounds ended."""

from __future__ import annotations

from dataclasses import dataclass

from esper_leyline import RoundSummary, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run of rounds ended.

    Attributes:
        status: Completed, or interrupted between two steps.
        rounds: Every complete round, including those before the run was resumed.
        discarded_steps: Steps of the interrupted round. Nothing was learnt from them, and no
            event of a round covers them.
    """

    status: RunStatus
    rounds: tuple[RoundSummary, ...]
    discarded_steps: int = 0


def never() -> bool:
    """Returns False: no stop was requested."""
    return False
