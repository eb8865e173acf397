"""The family ``loss``: what the host has come to by what was committed, no seed on trial.

No counterfactual says what a seed on trial does to the loss. So while one takes part the
committed loss stays what it was, and what the trial changes waits: until the seed is
fossilized, and so is the host's, or until it is gone, and its doing with it. An episode
that ends on a trial keeps no gain of it, but bears what got worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from esper_leyline import RewardConfig, SeedReport, SeedStage
from esper_simic.rewards.measures import alpha_of, clip, paired_seeds
from esper_simic.rewards.memory import EpisodeMemory
from esper_simic.rewards.outcome import crash
from esper_simic.rewards.progress import level, price
from esper_simic.rewards.step import Step
from esper_simic.rewards.worth import BLENDED_STAGES


class EscrowedFall:
    """Pays for the fall of the committed loss; a fall on trial is kept until it is settled."""

    def __init__(self) -> None:
        self._track = _Track()

    def __call__(self, step: Step) -> float:
        """Returns what is paid out, or charged, after this step."""
        before, after = self._track.follow(step)
        if before.committed is None or after.committed is None:
            return 0.0
        return price(step, before.committed - after.committed)


class FinalFall:
    """Pays at the end for the share of the first loss by which the committed loss fell."""

    def __init__(self, weigh: Callable[[RewardConfig], float]) -> None:
        self._weigh = weigh
        self._track = _Track()

    def __call__(self, step: Step) -> float:
        """Returns the weighed share, between -1 and 1, once the episode is over."""
        _, after = self._track.follow(step)
        if step.current.ended is None or step.crashed:
            return crash(step)
        return self._weigh(step.config) * _share(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Losses:
    """Of an episode so far, in nats; ``None`` where nothing was measured yet."""

    first: float | None
    committed: float | None


class _Track:
    def __init__(self) -> None:
        self._memory = EpisodeMemory[_Losses]()

    def follow(self, step: Step) -> tuple[_Losses, _Losses]:
        """Returns the losses before and after a step; a broken track starts anew."""
        before = self._memory.recall(step.previous)
        if before is None:
            known = level(step.previous)
            tried = any(_open(seed) for seed in step.previous.seeds)
            before = _Losses(first=known, committed=None if tried else known)
        after = _settled(before, step)
        self._memory.keep(step.current, after)
        return before, after


def _settled(before: _Losses, step: Step) -> _Losses:
    now, old = level(step.current), before.committed
    if now is None:
        return before
    first = now if before.first is None else before.first
    if not (step.crashed or _on_trial(step)):
        return _Losses(first=first, committed=now)
    if step.current.ended is None or old is None:
        return _Losses(first=first, committed=old)
    return _Losses(first=first, committed=max(old, now))


def _on_trial(step: Step) -> bool:
    """Whether a seed that is not committed took part in the latest validation.

    Reports say how a seed stands once the epoch is over. It was validated at the alpha
    that the report before gave it, unless the action pruned it at once.
    """
    return any(
        _open(before) and alpha_of(before) > 0 and (_open(after) or before.pruning)
        for before, after in paired_seeds(step.previous, step.current)
    )


def _open(seed: SeedReport) -> bool:
    return seed.stage in BLENDED_STAGES and seed.stage is not SeedStage.FOSSILIZED


def _share(losses: _Losses) -> float:
    first, last = losses.first, losses.committed
    return 0.0 if not first or last is None else clip((first - last) / first, -1.0, 1.0)
