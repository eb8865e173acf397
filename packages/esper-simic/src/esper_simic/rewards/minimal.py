"""The mode ``minimal``: ``sparse``, and a charge for ending seeds that were given no time."""

from __future__ import annotations

from esper_simic.rewards.mistakes import early_prune
from esper_simic.rewards.sparse import commitment, committed_fall, final_rent
from esper_simic.rewards.step import Parts


def minimal() -> Parts:
    """Pays as ``sparse`` does, pruning before age 5 charged."""
    return {"rent": final_rent, "warnings": early_prune, "terminal": commitment}


def minimal_by_loss() -> Parts:
    """Pays as ``sparse`` does in that family, pruning before age 5 charged."""
    return {"rent": final_rent, "warnings": early_prune, "terminal": committed_fall()}
