"""What a comparison needs to know of one run, from whatever source."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.comparison.pairing import Outcome
from esper_leyline import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFacts:
    """One finished round.

    Attributes:
        accuracy: Mean final validation accuracy of its hosts, in percent.
        mean_return: Mean return of its episodes.
        fossilized: Seeds fossilized.
        episodes: Episodes, so hosts.
        grown_parameters: Mean parameters of fossilized seeds at the episodes' end.
    """

    round: int
    accuracy: float | None
    mean_return: float | None
    fossilized: int
    episodes: int
    grown_parameters: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run; ``None`` where its log does not say.

    Rounds that a resumed run trained again are the later ones.

    Attributes:
        name: The name of its directory.
        status: As in a list of runs.
        rounds: In the order of their numbers.
        outcomes: Every finished episode, in any order.
        tests: Round and test accuracy in percent of each host that was tested.
        seconds: Wall time of all its processes; ``None`` before its end.
        host_parameters: Of a host without seeds.
        policy_parameters: Of the policy; ``None`` without one.
    """

    name: str
    config: TrainingConfig | None
    status: str | None
    rounds: tuple[RoundFacts, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    tests: tuple[tuple[int, float], ...] = ()
    seconds: float | None = None
    host_parameters: int | None = None
    policy_parameters: int | None = None

    @property
    def rounds_done(self) -> int:
        """Number of the last finished round, 0 before the first."""
        return self.rounds[-1].round if self.rounds else 0
