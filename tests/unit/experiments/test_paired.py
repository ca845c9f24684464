"""What a judge says of pairs of answers: wins that hold in both orders, and how sure they are."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.errors import Invalid
from services.experiments.domain.paired import (
    TIE,
    Counts,
    compare,
    count,
    p_value,
    p_value_fixed,
)

counted = st.builds(Counts, *[st.integers(0, 10**7)] * 4)
few = st.builds(Counts, *[st.integers(0, 40)] * 4)


def numbers_of(found):
    """List every number that is told."""
    flat = []
    waiting = list(astuple(found))
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting.extend(one)
        elif one is not None:
            flat.append(one)
    return flat


@pytest.mark.parametrize(
    ("preferred", "expected"),
    [
        (("test", "test"), Counts(test=1)),
        (("control", "control"), Counts(control=1)),
        ((TIE, TIE), Counts(ties=1)),
        (("control", "test"), Counts(unsteady=1)),  # always the answer that stood first, say
        (("test", "control"), Counts(unsteady=1)),
        (("test", TIE), Counts(unsteady=1)),
    ],
)
def test_a_pair_counts_for_an_arm_only_if_both_orders_say_so(preferred, expected):
    assert expected == count({preferred: 1}, control="control", test="test")


def test_pairs_add_up():
    said = {("test",) * 2: 3, (TIE, TIE): 2, ("control", "test"): 1, ("control",) * 2: 1}

    found = count(said, control="control", test="test")

    assert Counts(control=1, test=3, ties=2, unsteady=1) == found
    assert (4, 7) == (found.decided, found.pairs)


def test_a_verdict_for_a_stranger_is_refused():
    with pytest.raises(Invalid, match="verdict"):
        count({("test", "third"): 1}, control="control", test="test")


def test_without_pairs_nothing_is_said():
    found = compare(Counts())

    assert (None,) * 6 == astuple(found)[1:]


def test_ties_alone_say_that_there_is_no_difference_and_nothing_of_wins():
    found = compare(Counts(ties=20, unsteady=5))

    assert (None, None, None) == (found.p_value, found.p_value_fixed, found.win_share)
    assert 0 == found.difference
    assert found.difference_interval.low == -found.difference_interval.high


@pytest.mark.parametrize("wins", [0, 1, 7, 15, 16, 29, 30])
def test_it_is_the_exact_sign_test(wins):
    reference = stats.binomtest(wins, 30)
    interval = reference.proportion_ci(0.95, method="exact")

    found = compare(Counts(control=30 - wins, test=wins, ties=4))

    assert found.p_value_fixed == pytest.approx(reference.pvalue, rel=1e-12)
    assert found.win_share == wins / 30
    assert (found.win_share_interval.low, found.win_share_interval.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-9
    )


@given(few)
def test_the_interval_leaves_out_a_half_exactly_when_the_one_look_is_significant(counts):
    found = compare(counts)

    if counts.decided:
        inside = found.win_share_interval.low <= 0.5 <= found.win_share_interval.high
        assert inside == (found.p_value_fixed > 0.05)


@given(counted)
def test_every_number_is_one_and_in_its_place(counts):
    found = compare(counts)

    assert all(math.isfinite(number) for number in numbers_of(found))
    for p in (found.p_value, found.p_value_fixed):
        assert p is None or 0 <= p <= 1
    for value, interval in (
        (found.win_share, found.win_share_interval),
        (found.difference, found.difference_interval),
    ):
        assert value is None or interval.low <= value <= interval.high


@given(counted)
def test_swapping_the_arms_mirrors_everything(counts):
    there = compare(counts)
    back = compare(Counts(counts.test, counts.control, counts.ties, counts.unsteady))

    assert there.p_value_fixed == back.p_value_fixed
    if counts.decided:
        assert there.p_value == pytest.approx(back.p_value, rel=1e-6)
    if counts.pairs:
        assert there.difference == -back.difference
        assert there.difference_interval.low == -back.difference_interval.high


@given(few)
def test_looking_at_any_time_is_never_surer_than_one_look(counts):
    found = compare(counts)

    assert counts.decided == 0 or found.p_value >= found.p_value_fixed


@pytest.mark.parametrize(("wins", "surely"), [(10, False), (11, True)])
def test_eleven_wins_in_a_row_are_enough(wins, surely):
    assert surely == (p_value(Counts(test=wins)) < 0.05)


def share_of_false_alarms(p, *, looks, paths):
    """Toss fair coins, look after each, and return how often any look was significant."""
    coins = np.random.default_rng(1).random((paths, looks)) < 0.5
    wins = coins.cumsum(axis=1)
    alarmed = np.zeros(paths, bool)
    for n in range(1, looks + 1):
        seen = wins[:, n - 1]
        alarms = [k for k in np.unique(seen) if p(Counts(int(n - k), int(k))) <= 0.05]
        alarmed |= np.isin(seen, alarms)
    return alarmed.mean()


def test_looked_at_after_every_pair_it_is_wrong_in_one_of_twenty_at_most():
    assert 0.01 < share_of_false_alarms(p_value, looks=400, paths=4_000) <= 0.05


def test_the_one_look_looked_at_after_every_pair_is_wrong_far_more_often():
    assert share_of_false_alarms(p_value_fixed, looks=400, paths=4_000) > 0.2


def test_the_interval_of_the_difference_covers_it():
    control, test, n = 0.15, 0.25, 60
    drawn = np.random.default_rng(2).multinomial(n, [control, test, 1 - control - test], size=2_000)

    covered = [
        found.difference_interval.low <= test - control <= found.difference_interval.high
        for found in (compare(Counts(*map(int, row))) for row in drawn)
    ]

    assert 0.93 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("counts", [Counts(control=-1), Counts(ties=-1)])
def test_a_negative_count_is_refused(counts):
    with pytest.raises(Invalid, match="negative"):
        compare(counts)


@pytest.mark.parametrize("confidence", [0, 1, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(Invalid, match="confidence"):
        compare(Counts(test=1), confidence=confidence)
