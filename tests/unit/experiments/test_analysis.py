"""The one-look comparison: Welch on user means, and silence where it says nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.errors import Invalid
from services.experiments.domain.analysis import (
    UserCost,
    mean_difference,
    p_value_fixed,
    user_means,
)

samples = st.lists(st.floats(0, 1e12), min_size=2, max_size=40).map(np.array)


def each_once(costs):
    return [UserCost(1, cost) for cost in costs]


def fixed(control, test, *, sample_size=100):
    results = sum(u.requests for u in control) + sum(u.requests for u in test)
    return p_value_fixed(control, test, results=results, sample_size=sample_size)


def test_the_difference_is_welchs():
    control = np.array([27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6])
    test = np.array([27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2])
    reference = stats.ttest_ind(test, control, equal_var=False)
    interval = reference.confidence_interval(0.95)

    effect = mean_difference(control, test)

    assert effect.p_value == pytest.approx(reference.pvalue, rel=1e-12)
    assert effect.difference == pytest.approx(test.mean() - control.mean(), rel=1e-12)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


@given(samples, samples)
def test_swapping_the_arms_mirrors_the_effect(control, test):
    forth, back = mean_difference(control, test), mean_difference(test, control)

    assert forth.difference == -back.difference
    assert forth.p_value == pytest.approx(back.p_value, rel=1e-9, abs=1e-300)
    assert 0 <= forth.p_value <= 1
    assert all(map(math.isfinite, (forth.low, forth.high)))
    assert forth.low <= forth.difference <= forth.high


def test_a_power_of_two_as_a_scale_changes_no_p_value():
    control, test = np.array([1.0, 5, 2, 9]), np.array([2.0, 2, 8, 3])

    scaled = mean_difference(control * 1024, test * 1024)

    assert scaled.p_value == mean_difference(control, test).p_value


@pytest.mark.parametrize("sample", [[], [1.0], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]]])
def test_a_sample_that_is_none_is_refused(sample):
    good = np.array([1.0, 2.0])

    with pytest.raises(Invalid, match="sample"):
        mean_difference(good, np.array(sample))


@pytest.mark.parametrize("confidence", [0, 1, math.nan])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(Invalid, match="confidence"):
        mean_difference(np.array([1.0, 2.0]), np.array([1.0, 2.0]), confidence=confidence)


def test_a_user_has_one_vote_however_many_requests():
    users = [UserCost(1, 100), UserCost(50, 10_000)]

    assert [100.0, 200.0] == user_means(users).tolist()


def test_below_10_users_in_an_arm_nothing_is_said():
    many, few = each_once(range(50)), [UserCost(10, cost) for cost in range(9)]

    assert fixed(many, few) is None
    assert fixed(few, many) is None
    assert fixed(many, [*few, UserCost(1, 3)]) is not None


def test_two_constants_say_nothing_until_the_sample_is_full():
    control, test = each_once([100_000] * 20), each_once([110_000] * 20)

    assert fixed(control, test, sample_size=100) is None
    assert fixed(control, test, sample_size=40) == 0


def test_two_equal_constants_are_equal_once_the_sample_is_full():
    thirds = [UserCost(3, 100)] * 25  # a mean that no float holds exactly
    more = [UserCost(6, 200)] * 31

    assert fixed(thirds, more, sample_size=100) == 1


def test_half_the_price_for_all_is_significant_at_the_planned_size():
    control, test = each_once([200_000] * 50), each_once([100_000] * 50)

    assert fixed(control, test, sample_size=100) < 0.05


def test_one_arm_that_varies_is_enough_to_compare():
    control, test = each_once([100] * 20), each_once(range(90, 110))

    assert fixed(control, test) > 0.05
