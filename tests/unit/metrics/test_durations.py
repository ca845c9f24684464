"""Durations in buckets: parts add up to the whole, and percentiles are nearly exact."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.durations import (
    LEAST_MS,
    MOST_ERROR,
    MOST_MS,
    Measure,
    bucket_of,
    fold,
    percentile,
    percentiles,
    usable_ms,
    value_of,
)
from services.metrics.domain.grains import GRAINS_S, MINUTE_S, start_of
from services.metrics.domain.rollup import Key, Labels, Place, Request, Tokens

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LABELS = Labels("hybrid", "acme", "acme/small", "admin", "", "high", "ok", cache_hit=False)
KEY = Key(NOON, LABELS)
REQUEST = Request(UUID(int=1), Place(KEY, 100, 900), Tokens(), latency_ms=12.5)

lengths_ms = st.floats(LEAST_MS, MOST_MS)
keys = st.sampled_from(
    [KEY, Key(NOON, LABELS._replace(model="acme/large")), Key(NOON + timedelta(minutes=59), LABELS)]
)
requests = st.builds(
    Request,
    request_id=st.uuids(),
    place=st.builds(Place, keys, st.none(), st.none()),
    tokens=st.just(Tokens()),
    latency_ms=st.none() | lengths_ms,
    first_token_ms=st.none() | lengths_ms,
)


def merged(*folds):
    whole = {}
    for durations in folds:
        for slot, counts in durations.items():
            whole.setdefault(slot, Counter()).update(counts)
    return whole


def exact(lengths, percent):
    """Return the least of *lengths* that so many of a hundred do not exceed."""
    return sorted(lengths)[ceil(len(lengths) * percent / 100) - 1]


@given(st.lists(requests, max_size=30), st.integers(0, 30), st.randoms())
def test_parts_in_any_order_add_up_to_the_whole(batch, cut, random):
    shuffled = random.sample(batch, len(batch))

    assert fold(batch) == merged(fold(shuffled[:cut]), fold(shuffled[cut:]))


@given(st.lists(requests, max_size=30))
def test_every_grain_holds_what_the_minutes_hold(batch):
    totals = {grain_s: Counter() for grain_s in GRAINS_S}
    for slot, counts in fold(batch).items():
        assert slot.start == start_of(slot.start, slot.grain_s)
        totals[slot.grain_s].update({(slot.measure, b): n for b, n in counts.items()})

    assert all(total == totals[MINUTE_S] for total in totals.values())


def test_confidences_are_not_told_apart():
    unsure = replace(REQUEST, place=Place(Key(NOON, LABELS._replace(confidence="low")), 1, 2))

    assert {2} == {counts.total() for counts in fold([REQUEST, unsure]).values()}


@given(st.lists(lengths_ms, min_size=1, max_size=60), st.sampled_from([50, 95, 99]))
def test_a_percentile_is_within_the_stated_error(lengths, percent):
    found = percentile(Counter(map(bucket_of, lengths)), percent)

    assert exact(lengths, percent) == pytest.approx(found, rel=MOST_ERROR / (1 - MOST_ERROR) + 1e-9)
    assert MOST_ERROR < 0.05


@given(lengths_ms)
def test_a_value_stands_for_its_bucket(length):
    assert length == pytest.approx(value_of(bucket_of(length)), rel=0.05)


@given(lengths_ms, lengths_ms)
def test_what_is_longer_is_in_no_earlier_bucket(one, other):
    low, high = sorted((one, other))

    assert bucket_of(low) <= bucket_of(high) < 2**15  # a smallint


def test_what_is_shorter_than_can_be_told_counts_as_the_least():
    assert {0} == {bucket_of(0), bucket_of(LEAST_MS / 2), bucket_of(LEAST_MS)}
    assert LEAST_MS == value_of(0)


def test_nothing_has_no_percentiles():
    assert (None, None, None) == (
        (none := percentiles({})).p50,
        none.p95,
        none.p99,
    )


@pytest.mark.parametrize("nonsense", [-1.0, float("nan"), float("inf"), 2 * MOST_MS])
def test_what_nothing_can_have_taken_is_not_known(nonsense):
    assert usable_ms(nonsense) is None


def test_what_is_not_known_is_not_counted():
    assert {Measure.LATENCY} == {slot.measure for slot in fold([REQUEST])}
    assert {} == fold([replace(REQUEST, latency_ms=None)])
