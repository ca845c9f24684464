"""What another strategy would have cost: near the truth, where that is known; else not said."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.off_policy import MOST_WEIGHT, Case, estimate

EXPLORED = 0.1
HABIT = 0.4


def a_case(**changes):
    fields = {
        "user": None,
        "cost_nano_usd": 100,
        "chosen": "acme/small",
        "chosen_cost_nano_usd": 100,
        "target": "acme/small",
        "target_cost_nano_usd": 100,
        "propensity": 0.5,
    }
    return Case(**fields | changes)


def a_log(dice, *, bias, requests=1_000, users=100):
    """
    Return a log of which a tenth is left to chance; TRUTH is what "large" always would have cost.

    Args:
        dice: The chance behind it.
        bias: Of what is expected, growing with the prompt: no correction by model makes up for it.
        requests: In the log.
        users: Each with a habit of its own, of which nothing is expected.
    """
    habits = np.exp(dice.normal(-(HABIT**2) / 2, HABIT, users))
    who, sizes = dice.integers(users, size=requests), dice.exponential(1.0, requests)
    noise = habits[who] * dice.gamma(4, 1 / 4, requests)
    odds = np.where(sizes > 1, 1 - EXPLORED / 2, EXPLORED / 2)  # of "large"
    is_large = dice.random(requests) < odds
    small, large = 1_000 * (1 + sizes), 9_000 * (1 + sizes)
    wrong = np.exp(bias * (sizes - 1))
    paid = np.where(is_large, large, small) * noise
    expected = np.where(is_large, large, small) * wrong
    columns = (np.rint(paid), np.rint(expected), np.rint(large * wrong))
    paid, expected, expected_of_large = (one.astype(int).tolist() for one in columns)
    chosen = np.where(is_large, "large", "small").tolist()
    return [
        Case(str(user), cost, model, usual, "large", of_large, p)
        for user, cost, model, usual, of_large, p in zip(
            who.tolist(), paid, chosen, expected, expected_of_large, odds.tolist(), strict=True
        )
    ]


TRUTH = 9_000 * 2  # of a mean size of 1


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_the_truth_is_in_the_interval_about_as_often_as_it_says(bias):
    dice = np.random.default_rng(7)

    found = [estimate(a_log(dice, bias=bias)) for _ in range(100)]

    assert 0.89 <= np.mean([one.low <= TRUTH <= one.high for one in found]) <= 0.99
    assert TRUTH == pytest.approx(np.mean([one.estimated for one in found]), rel=0.02)
    assert TRUTH == pytest.approx(np.mean([one.self_normalised for one in found]), rel=0.03)
    assert np.mean([one.high - one.low for one in found]) < TRUTH / 2


def test_what_is_expected_wrongly_is_corrected_by_chance():
    dice = np.random.default_rng(3)
    cases = a_log(dice, bias=0.4, requests=4_000, users=4_000)
    untried = [c if c.chosen != c.target else replace(c, propensity=1.0) for c in cases]

    assert TRUTH == pytest.approx(estimate(cases).estimated, rel=0.1)
    assert estimate(untried).estimated != pytest.approx(TRUTH, rel=0.1)


def test_an_estimate_of_what_was_done_is_what_it_cost():
    cases = [a_case(cost_nano_usd=n, propensity=1.0, user=str(n % 9)) for n in range(100)]

    found = estimate(cases)

    assert (49.5, pytest.approx(49.5), 100, 1) == (
        found.actual,
        found.estimated,
        found.effective_size,
        found.overlap_ratio,
    )
    assert 0 == pytest.approx(found.saved_ratio)


def test_a_tenth_that_was_tried_speaks_for_all():
    tried = [a_case(propensity=0.1, cost_nano_usd=20) for _ in range(10)]
    usual = [
        a_case(propensity=0.1, chosen="acme/large", chosen_cost_nano_usd=900, cost_nano_usd=900)
        for _ in range(90)
    ]

    found = estimate([*tried, *usual])

    assert (812, pytest.approx(20), pytest.approx(20)) == (
        found.actual,
        found.estimated,
        found.self_normalised,
    )
    assert 1 - 20 / 812 == pytest.approx(found.saved_ratio)
    assert "" == found.reason


def test_users_who_are_alike_make_the_interval_wider():
    dice = np.random.default_rng(5)
    cost = np.repeat(dice.integers(1, 1_000, 20), 50)
    each = [a_case(cost_nano_usd=int(one), propensity=1.0) for one in cost]
    by_user = [replace(case, user=str(n // 50)) for n, case in enumerate(each)]

    alone, clustered = estimate(each), estimate(by_user)

    assert alone.estimated == clustered.estimated
    assert clustered.high - clustered.low > 5 * (alone.high - alone.low)


def test_no_request_weighs_more_than_the_bound():
    rare = a_case(propensity=1e-6, cost_nano_usd=10**6)
    others = [a_case(chosen="acme/large", propensity=1e-6) for _ in range(10 * int(MOST_WEIGHT))]

    assert estimate([rare, *others]).estimated < 1_000 + 10**6 * MOST_WEIGHT / len(others)


def test_the_cost_of_two_answers_is_not_taken_for_that_of_one():
    alone = [a_case(propensity=1.0, user=str(n)) for n in range(20)]
    both = [a_case(propensity=0.0, alone=False, cost_nano_usd=5_000) for _ in range(20)]

    found = estimate([*alone, *both])

    assert (2_550, pytest.approx(100), 0.5) == (found.actual, found.estimated, found.overlap_ratio)


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ([], "no request with a price"),
        ([a_case(propensity=0.0, chosen="acme/large")] * 9, "could have gone"),
        ([a_case(propensity=0.1, chosen="acme/large")] * 9, "none of these requests went"),
    ],
)
def test_where_nothing_can_be_told_nothing_is(cases, reason):
    found = estimate(cases)

    assert (None, None, None, None, None) == (
        found.estimated,
        found.low,
        found.high,
        found.self_normalised,
        found.saved_ratio,
    )
    assert reason in found.reason


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ([a_case(user="one")] * 50, "at least 5 users"),
        ([a_case(user=str(n)) for n in range(9)], "too few requests"),
    ],
)
def test_without_enough_data_there_is_no_interval(cases, reason):
    found = estimate(cases)

    assert (100, None, None) == (pytest.approx(found.estimated), found.low, found.high)
    assert reason in found.reason


@given(
    st.lists(
        st.builds(
            Case,
            st.sampled_from([None, "a", "b", "c", "d", "e", "f"]),
            st.integers(0, 2**63),
            st.sampled_from(["x/1", "x/2"]),
            st.integers(0, 2**63),
            st.sampled_from(["x/1", "x/2"]),
            st.integers(0, 2**63),
            st.floats(0, 1),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_no_figure_is_ever_out_of_bounds(cases):
    found = estimate(cases)

    figures = [one for one in astuple(found) if isinstance(one, float)]
    assert all(map(math.isfinite, figures))
    assert all(one >= 0 for one in figures)
    if found.low is not None:
        assert found.low <= found.estimated <= found.high
