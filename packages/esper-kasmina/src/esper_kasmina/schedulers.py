"""Learning-rate schedulers that follow growth."""

from __future__ import annotations

from torch.optim.lr_scheduler import LRScheduler

_RATES = ("initial_lr", "max_lr", "min_lr")
_PER_GROUP = ("lr_lambdas", "min_lrs", "base_momentums", "max_momentums")


def sync_scheduler(scheduler: LRScheduler) -> None:
    """Lets a scheduler follow the groups that its optimiser has gained or lost.

    Call it after ``sync_optimizer``. Torch's schedulers keep one entry a group from when
    they were made; a newborn group gets the first group's, its rates in proportion to the
    two learning rates now, so that it goes the same way from where it starts. Entries of
    the groups that were there stay as they are.

    Args:
        scheduler: Any scheduler of ``torch.optim.lr_scheduler``, compound ones included.
    """
    for part in getattr(scheduler, "_schedulers", ()):
        sync_scheduler(part)
    groups = scheduler.optimizer.param_groups
    first, own = groups[0], vars(scheduler)
    shares = [group["lr"] / first["lr"] if first["lr"] else 1.0 for group in groups]
    for group, share in zip(groups, shares, strict=True):
        for key, value in first.items():
            if key not in group:
                group[key] = share * value if key in _RATES else value
    if "base_lrs" in own:
        scheduler.base_lrs = [group["initial_lr"] for group in groups]
    for name in _PER_GROUP:
        _resize(own.get(name), [1] * len(groups))
    _resize(own.get("max_lrs"), shares)


def _resize(entries: object, shares: list[float]) -> None:
    """Makes a list one entry a group long, in place; new ones are shares of the first."""
    if isinstance(entries, list) and entries:
        entries[len(shares) :] = []
        known = len(entries)
        entries += [entries[0] if share == 1 else share * entries[0] for share in shares[known:]]
