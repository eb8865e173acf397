"""The family ``loss``: pay for a fall bit by bit, as long as it lasts."""

from __future__ import annotations

from dataclasses import dataclass

from esper_simic.rewards.memory import EpisodeMemory
from esper_simic.rewards.progress import fall, price
from esper_simic.rewards.step import Step


@dataclass(frozen=True, slots=True)
class _Account:
    """Nats by which the loss has fallen and not risen again, and those paid for by now."""

    standing: float = 0.0
    paid: float = 0.0


class LastingFall:
    """Pays each fall in equal shares over the epochs left, the one it happens in included.

    A rise takes back what was paid of what it undoes, and is charged at once where it
    undoes more than stands. By the horizon what stands has been paid for in full. On the
    way a loop earns no more than waiting: a fall that comes later has less of it paid.
    """

    def __init__(self) -> None:
        self._memory = EpisodeMemory[_Account]()

    def __call__(self, step: Step) -> float:
        """Returns what is paid after this step, negative where more is taken back."""
        account = self._memory.recall(step.previous) or _Account()
        fallen = fall(step)
        standing = max(account.standing + fallen, 0.0)
        beyond = min(account.standing + fallen, 0.0)
        kept = account.paid * min(standing / account.standing, 1.0) if account.standing else 0.0
        paid = kept + (standing - kept) / step.epochs_left
        self._memory.keep(step.current, _Account(standing, paid))
        due = beyond + paid - account.paid
        return price(step, min(due, 0.0) if step.crashed else due)
