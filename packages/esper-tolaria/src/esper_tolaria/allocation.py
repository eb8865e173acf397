"""How a worker's C library gives memory out."""

from __future__ import annotations

import ctypes

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_MOST = 2**31 - 1
_STEP = 64 * 2**20


def keep_freed_memory() -> bool:
    """Has this process keep memory that it frees, for the next batch needs the same again.

    By default glibc maps each large tensor anew and hands it back when it is freed, so
    every batch pays for every page: a seventh of the time of an epoch of the cifar10 host.
    The process stays as large as it once was. Only for processes that do nothing but train.

    Returns:
        Whether this C library is one that can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # macOS, musl: nothing to set
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _MOST), (_M_TOP_PAD, _STEP))
    taken = [mallopt(name, value) for name, value in settings]
    return all(taken)
