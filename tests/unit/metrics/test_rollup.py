"""Folding requests by the minute: three populations, and corrections where they belong."""

from dataclasses import astuple, replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.rollup import (
    Correction,
    Key,
    Place,
    Request,
    Sums,
    Tokens,
    correct,
    fold,
    minute_of,
    place_of,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
KEY = Key(NOON, "hybrid", "acme", "acme/small", "high", "ok", cache_hit=False)
REQUEST = Request(UUID(int=1), KEY, Tokens(10, 5, 2), cost_nano_usd=100, baseline_cost_nano_usd=900)

requests = st.builds(
    Request,
    request_id=st.uuids(),
    key=st.sampled_from([KEY, replace(KEY, strategy="best"), replace(KEY, cache_hit=True)]),
    tokens=st.builds(Tokens, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
    cost_nano_usd=st.none() | st.integers(0, 999),
    baseline_cost_nano_usd=st.none() | st.integers(0, 999),
)


def test_a_priced_request_with_a_baseline_is_in_every_population():
    expected = Sums(
        requests=1,
        priced=1,
        compared=1,
        cost_nano_usd=100,
        compared_cost_nano_usd=100,
        baseline_cost_nano_usd=900,
        input_tokens=10,
        output_tokens=5,
        cached_input_tokens=2,
    )

    assert {KEY: expected} == fold([REQUEST])


def test_a_request_without_baseline_is_paid_but_not_compared():
    [sums] = fold([replace(REQUEST, baseline_cost_nano_usd=None)]).values()

    assert (1, 0) == (sums.priced, sums.compared)
    assert (100, 0, 0) == (
        sums.cost_nano_usd,
        sums.compared_cost_nano_usd,
        sums.baseline_cost_nano_usd,
    )


def test_an_unpriced_request_counts_but_its_baseline_does_not():
    [sums] = fold([replace(REQUEST, cost_nano_usd=None)]).values()

    assert (1, 0, 0) == (sums.requests, sums.priced, sums.compared)
    assert 0 == sums.baseline_cost_nano_usd


@given(st.lists(requests, max_size=20), st.randoms())
def test_the_order_of_arrival_changes_nothing(batch, random):
    shuffled = random.sample(batch, len(batch))

    assert fold(batch) == fold(shuffled)


@given(st.lists(requests, max_size=20), st.integers(0, 20))
def test_two_batches_add_up_to_one(batch, cut):
    total = fold(batch)
    parts = [fold(batch[:cut]), fold(batch[cut:])]

    for key, sums in total.items():
        added = [sum(v) for v in zip(*(astuple(p[key]) for p in parts if key in p), strict=True)]
        assert list(astuple(sums)) == added


def test_a_correction_moves_money_and_tokens_but_counts_nobody_twice():
    rollups = fold([REQUEST])
    correction = Correction(REQUEST.request_id, Tokens(1, -2, 0), -30, 50)

    correct(rollups, [(correction, place_of(REQUEST))])

    sums = rollups[KEY]
    assert 1 == sums.requests
    assert (70, 70, 950) == (
        sums.cost_nano_usd,
        sums.compared_cost_nano_usd,
        sums.baseline_cost_nano_usd,
    )
    assert (11, 3) == (sums.input_tokens, sums.output_tokens)


def test_a_difference_to_an_unknown_cost_is_no_cost():
    rollups = {}
    correction = Correction(REQUEST.request_id, Tokens(), 30, 50)

    correct(rollups, [(correction, Place(KEY, priced=False, compared=False))])

    assert {KEY: Sums()} == rollups


def test_a_minute_begins_at_its_first_second():
    assert NOON == minute_of(NOON.replace(second=59, microsecond=999_999))
