"""What all tests of the workspace share."""

from __future__ import annotations

import gc

from hypothesis import settings

# How long an example takes is a matter of the machine, which may be busy.
settings.register_profile("esper", deadline=None)
settings.load_profile("esper")


def pytest_collection_finish() -> None:
    """Hides what was collected from Python's garbage collector.

    These are ten thousand tests and the modules that they import. Each full collection, and each
    search for the schedulers of an optimizer, would go through all of them.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Shows it again: at the exit of Python, libraries complain of what was not collected."""
    gc.unfreeze()
