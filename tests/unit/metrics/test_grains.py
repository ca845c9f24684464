"""Any stretch of time is made of grains that leave nothing out and count nothing twice."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.grains import GRAINS_S, start_of, starts

minutes = st.integers(0, 3_000_000_000 // 60).map(lambda n: datetime.fromtimestamp(60 * n, UTC))


@given(minutes)
def test_each_grain_begins_where_the_shorter_one_ends(since):
    found = starts(since)

    assert since == found[0]
    for grain_s, start, longer_s, end in zip(
        GRAINS_S, found, GRAINS_S[1:], found[1:], strict=False
    ):
        assert start == start_of(start, grain_s)
        assert start <= end == start_of(end, longer_s)
        assert end - start < timedelta(seconds=longer_s)


def test_every_grain_is_made_of_the_shorter_ones():
    assert all(longer % shorter == 0 for shorter, longer in itertools.pairwise(GRAINS_S))
