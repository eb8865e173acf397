"""The mode ``sparse``: nothing until the end, then what was committed, less its rent."""

from __future__ import annotations

from esper_simic.rewards.committed import FinalFall
from esper_simic.rewards.costs import full_rent
from esper_simic.rewards.outcome import accuracy_share, committed_accuracy, crash
from esper_simic.rewards.step import Part, Parts, Step


def sparse() -> Parts:
    """Pays the accuracy of the host with its fossils alone, as a share of 1."""
    return {"rent": final_rent, "terminal": commitment}


def sparse_by_loss() -> Parts:
    """Pays the share of the first loss by which that of the committed host fell."""
    return {"rent": final_rent, "terminal": committed_fall()}


def final_rent(step: Step) -> float:
    """Charges the rent of what has grown once, when the episode ends."""
    return 0.0 if step.current.ended is None else -full_rent(step.current, step.config)


def commitment(step: Step) -> float:
    """Pays the committed accuracy when the episode ends; charges if the governor ended it."""
    if step.current.ended is None or step.crashed:
        return crash(step)
    return accuracy_share(committed_accuracy(step.current))


def committed_fall() -> Part:
    """Makes the part that pays at the end for what the committed host's loss fell by."""
    return FinalFall(lambda config: 1.0)  # noqa: ARG005 - a share of 1, like the accuracy
