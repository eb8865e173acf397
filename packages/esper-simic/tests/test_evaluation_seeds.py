from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_simic import SimicError, episode_seeds
from esper_simic.evaluation import RANGE_SIZE, SeedRange, evaluation_seeds

runs = st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 10_000), st.integers(1, 64))


@given(
    run=runs,
    count=st.integers(1, 200),
    first=st.integers(0, 2**30 - 200),
    use=st.sampled_from(SeedRange),
)
def test_no_run_trains_on_an_evaluation_seed(run, count, first, use):
    seeds = evaluation_seeds(count, first=first, use=use)
    assert len(set(seeds)) == count
    assert max(episode_seeds(*run)) < 2**31 <= min(seeds)
    assert set(seeds).isdisjoint(episode_seeds(*run))


def test_longer_lists_of_seeds_start_with_shorter_ones():
    assert evaluation_seeds(20)[:7] == evaluation_seeds(7)
    assert evaluation_seeds(20)[7:] == evaluation_seeds(13, first=7)


def test_tuning_and_reporting_seeds_do_not_overlap():
    last = evaluation_seeds(1, first=RANGE_SIZE - 1)[0]
    (reporting,) = evaluation_seeds(1, use=SeedRange.REPORTING)
    assert (last, reporting) == (2**31 + 2**30 - 1, 2**31 + 2**30)
    end = evaluation_seeds(1, first=RANGE_SIZE - 1, use=SeedRange.REPORTING)[0]
    assert end == 2**32 - 1


@pytest.mark.parametrize(("count", "first"), [(0, 0), (1, -1), (2, 2**30 - 1), (2**30 + 1, 0)])
def test_seeds_outside_the_range_are_refused(count, first):
    with pytest.raises(SimicError, match=str(count)):
        evaluation_seeds(count, first=first)
