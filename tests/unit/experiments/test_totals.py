"""Sums over users: exact, whatever comes in whatever order."""

import random
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Invalid
from services.experiments.domain.analysis import ratio_of
from services.experiments.domain.result import Known
from services.experiments.domain.totals import (
    NAMES,
    NOTHING,
    PAIRS,
    ArmTotals,
    UserTotals,
    dumps,
    loads,
)
from tests.unit.experiments.arms import arm_totals

amounts = st.integers(0, 10**15)
few = settings(max_examples=25)
some_user = st.builds(UserTotals, *([amounts] * len(NAMES)))


@few
@given(st.lists(some_user, max_size=6), st.randoms())
def test_the_order_of_arrival_changes_nothing(users, order):
    shuffled = list(users)
    order.shuffle(shuffled)

    assert arm_totals(users) == arm_totals(shuffled)


@few
@given(st.lists(st.tuples(some_user, some_user), min_size=1, max_size=5))
def test_what_is_updated_is_what_is_summed_up_anew(users):
    updated = arm_totals(before for before, _ in users)
    for before, after in users:
        updated.replace(before, after)

    assert arm_totals(after for _, after in users) == updated


@few
@given(st.lists(some_user, max_size=4))
def test_what_is_written_down_is_read_again_to_the_last_digit(users):
    totals = {"control": arm_totals(users), "test": ArmTotals()}

    assert totals == loads(dumps(totals))


def test_what_an_older_version_wrote_lacks_nothing():
    totals = loads('{"control": {"sums": {"results": 3}}}')["control"]

    assert (3, 0) == (totals.sum("results"), totals.product("slow", "results"))


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"control": 3}', '{"control": {"sums": 3}}'])
def test_what_is_no_totals_is_refused(kept):
    with pytest.raises(Invalid):
        loads(kept)


def test_a_product_is_the_sum_over_users():
    users = [UserTotals(results=n, failures=n // 2) for n in range(1, 9)]
    totals = arm_totals(users)

    assert sum(u.results * u.failures for u in users) == totals.product("failures", "results")
    assert sum(u.results for u in users) == totals.product("users", "results")
    assert 8 == totals.sum("users") == totals.users()
    assert all(a <= b for a, b in PAIRS)


def test_a_constant_has_no_variance_at_all_however_many_updates_it_saw():
    draw = random.Random(1)
    totals, users = ArmTotals(), {}
    for _ in range(1_000):
        name = draw.randrange(300)
        before = users.get(name, NOTHING)
        users[name] = before + UserTotals(results=1, priced=1, good=1, cost_nano_usd=333_333_331)
        totals.replace(before, users[name])

    found = ratio_of(totals, "cost_nano_usd", "good")

    assert (333_333_331, 0.0) == (found.value, found.variance)


KNOWN = Known(
    success=True,
    cost_nano_usd=100,
    latency_ms=1.5,
    prompt_words=7,
    fallbacks=1,
    quality_score=None,
)


def part(**changes):
    return replace(KNOWN, **changes).totals(1_000)


def test_one_result_is_one_of_everything_it_is():
    assert UserTotals(1, 1, 100, 1, 7, 1, 0, 1500, 1, 0, 0, 1) == part()


@pytest.mark.parametrize(
    ("changes", "good", "priced"),
    [
        ({"success": False}, 0, 1),
        ({"quality_score": 2}, 0, 1),
        ({"quality_score": 3}, 1, 1),
        ({"cost_nano_usd": None}, 0, 0),
        ({"cost_nano_usd": 0}, 1, 1),
    ],
)
def test_a_success_has_a_price_did_not_fail_and_was_not_rated_bad(changes, good, priced):
    found = part(**changes)

    assert (good, priced) == (found.good, found.priced)


def test_what_is_not_priced_or_not_measured_enters_no_covariate():
    assert (0, 0) == (part(cost_nano_usd=None).prompt_words, part(cost_nano_usd=None).measured)
    assert (0, 0) == (part(prompt_words=None).prompt_words, part(prompt_words=None).measured)


def test_nothing_is_slow_before_it_is_known_what_is():
    assert 0 == KNOWN.totals(None).slow


def test_differences_undo_sums():
    one, other = part(), part(quality_score=5)

    assert astuple(one) == astuple(one + other - other)
