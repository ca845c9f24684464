"""Folding requests by the minute: three populations, and corrections where they belong."""

from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.grains import GRAINS_S, MINUTE_S, start_of
from services.metrics.domain.rollup import (
    Correction,
    Key,
    Labels,
    Place,
    Request,
    Sums,
    Tokens,
    by_grain,
    correct,
    fold,
    minute_of,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LABELS = Labels("hybrid", "acme", "acme/small", "admin", "3/test", "high", "ok", cache_hit=False)
KEY = Key(NOON, LABELS)
REQUEST = Request(UUID(int=1), Place(KEY, 100, 900), Tokens(10, 5, 2))

money = st.none() | st.integers(0, 999)
keys = st.sampled_from(
    [
        KEY,
        Key(NOON + timedelta(minutes=59), LABELS),
        Key(NOON, LABELS._replace(strategy="best")),
        Key(NOON, LABELS._replace(cache_hit=True)),
    ]
)
requests = st.builds(
    Request,
    request_id=st.uuids(),
    place=st.builds(Place, keys, money, money),
    tokens=st.builds(Tokens, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
)


def costing(cost_nano_usd, baseline_cost_nano_usd):
    return replace(REQUEST, place=Place(KEY, cost_nano_usd, baseline_cost_nano_usd))


def corrected(request, *corrections):
    rollups = fold([request])
    correct(rollups, corrections, {request.request_id: request.place})
    return rollups[KEY]


def by(cost_nano_usd, *, unpriced=False, tokens=Tokens()):  # noqa: B008 - frozen
    return Correction(REQUEST.request_id, tokens, cost_nano_usd, unpriced=unpriced)


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
    [sums] = fold([costing(100, None)]).values()

    assert (1, 0) == (sums.priced, sums.compared)
    assert (100, 0, 0) == (
        sums.cost_nano_usd,
        sums.compared_cost_nano_usd,
        sums.baseline_cost_nano_usd,
    )


def test_an_unpriced_request_counts_but_its_baseline_does_not():
    [sums] = fold([costing(None, 900)]).values()

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


@given(st.lists(requests, max_size=20))
def test_every_grain_holds_what_the_minutes_hold(batch):
    totals = {grain_s: {} for grain_s in GRAINS_S}
    for slot, sums in by_grain(fold(batch)).items():
        assert slot.start == start_of(slot.start, slot.grain_s)
        totals[slot.grain_s].setdefault(slot.labels, Sums()).__iadd__(sums)

    assert all(total == totals[MINUTE_S] for total in totals.values())


def test_a_correction_moves_money_and_tokens_but_counts_nobody_twice():
    sums = corrected(REQUEST, by(-50, tokens=Tokens(1, -2, 0)), by(20))

    assert 1 == sums.requests == sums.priced == sums.compared
    assert (70, 70, 900) == (
        sums.cost_nano_usd,
        sums.compared_cost_nano_usd,
        sums.baseline_cost_nano_usd,
    )
    assert (11, 3) == (sums.input_tokens, sums.output_tokens)


def test_a_difference_to_an_unknown_cost_is_no_cost():
    assert fold([costing(None, 900)])[KEY] == corrected(costing(None, 900), by(30))


def test_what_turns_out_to_have_no_price_leaves_the_averages():
    assert fold([costing(None, 900)])[KEY] == corrected(REQUEST, by(-100, unpriced=True), by(5))


def test_a_correction_of_what_was_never_counted_changes_nothing():
    rollups = {}

    assert {} == correct(rollups, [by(1)], {}) == rollups


@given(requests, st.lists(st.tuples(st.integers(-99, 99), st.booleans()), max_size=5))
def test_corrections_in_two_batches_are_as_good_as_in_one(request_, steps):
    corrections = [
        Correction(request_.request_id, Tokens(), cost, unpriced=gone) for cost, gone in steps
    ]
    places = {request_.request_id: request_.place}
    together, apart = fold([request_]), fold([request_])

    correct(together, corrections, places)
    for one in corrections:
        places |= correct(apart, [one], places)

    assert together == apart


def test_a_minute_begins_at_its_first_second():
    assert NOON == minute_of(NOON.replace(second=59, microsecond=999_999))
