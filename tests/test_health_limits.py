"""The trainer's anomalies and the verdicts of readers agree on what is bad."""

from __future__ import annotations

import pytest

from esper_karn import CHECKS
from esper_karn.state.health import judge
from esper_leyline import PolicyConfig, head_sizes
from esper_leyline.health import Level, entropy_above_floor
from esper_simic import AnomalyThresholds, thresholds_for

SLOTS = 3


def level_of(name: str, value: float) -> Level:
    """The level of a check after the value was measured as often as its patience needs."""
    verdict = None
    for at in range(CHECKS[name].limits.patience):
        verdict = judge(name, verdict, value, at)
    assert verdict is not None
    return verdict.level


@pytest.mark.parametrize("head", head_sizes(SLOTS))
def test_a_head_collapses_for_the_trainer_where_its_entropy_is_bad_for_readers(head: str) -> None:
    floors = PolicyConfig().floors
    limit = thresholds_for(floors, SLOTS).entropy[head]
    for entropy, collapsed in ((limit - 1e-6, True), (limit + 1e-6, False)):
        value = entropy_above_floor(entropy, floors[head], head_sizes(SLOTS)[head])
        assert (level_of("entropy", value) is Level.BAD) == collapsed


def test_the_limits_of_the_trainer_are_those_of_readers() -> None:
    thresholds = AnomalyThresholds()
    assert level_of("gradient", thresholds.gradient_max) is Level.BAD
    assert level_of("gradient", thresholds.gradient_max - 1e-6) is Level.WARNING
    assert level_of("clipping", thresholds.gradient_kept - 1e-6) is Level.BAD
    assert level_of("clipping", thresholds.gradient_kept) is Level.WARNING
    assert level_of("critic", thresholds.explained_variance - 1e-6) is Level.WARNING
    assert level_of("critic", thresholds.explained_variance + 0.1) is Level.OK
