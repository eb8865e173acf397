"""Settings of the C library's memory allocator in worker processes."""

from __future__ import annotations

import ctypes

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_MOST = 2**31 - 1
_STEP = 64 * 2**20


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for the next batch.

    By default glibc maps memory for each large tensor and unmaps it when it is freed, so every
    batch has page faults: a seventh of an epoch's time for the cifar10 host. The process keeps
    its peak size, so this is only for processes that do nothing but train.

    Returns:
        Whether the C library supports it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # macOS, musl: nothing to set
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _MOST), (_M_TOP_PAD, _STEP))
    taken = [mallopt(name, value) for name, value in settings]
    return all(taken)
