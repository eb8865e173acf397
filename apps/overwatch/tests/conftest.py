"""Runs on disk for the app's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from esper_leyline import RoundSummary, RunSummary
from esper_nissa import RunDirectory


def round_summary(number: int, **changes: object) -> RoundSummary:
    facts = {
        "round": number,
        "episodes": 2,
        "mean_return": number - 1.5,
        "mean_accuracy": 50.0 + number,
        "best_accuracy": 60.0,
        "ops": {"WAIT": 5, "GERMINATE": 2},
        "germinated": 2,
        "fossilized": 1,
        "pruned": 0,
        "grown_parameters": 33.0,
        "seconds": 2.0,
    }
    return RoundSummary(**facts | changes)


@pytest.fixture
def a_round() -> Callable[..., RoundSummary]:
    """Makes the summary of a round."""
    return round_summary


@pytest.fixture
def finish() -> Callable[..., None]:
    """Writes the summary of a run with three rounds."""

    def write(run: RunDirectory, **changes: object) -> None:
        facts = {
            "run_id": run.run_id,
            "command": "ppo",
            "task": "mnist1d",
            "status": "completed",
            "started": 0.0,
            "seconds": 180.0,
            "rounds": tuple(round_summary(number) for number in range(1, 4)),
            "host_parameters": 782,
        }
        run.write_summary(RunSummary(**facts | changes))

    return write
