"""
The formulas beside those of scipy, of a regression, and of GrowthBook's `gbstats` 0.8.0.

`gbstats` is no dependency of the tests, so its figures are frozen here. They come, once
`make bench-experiments` has put it into .bench/, from

    PYTHONPATH=. .bench/bin/python -c '
    from scripts.experiments.growthbook import statistic
    a = statistic([10, 153, 35, 3721, 767, 169])
    b = statistic([11, 143, 40, 3015, 781, 210])
    print(a.mean, a.variance / a.n, b.mean, b.variance / b.n, b.mean - a.mean)'
"""

import numpy as np
import pytest
from scipy import stats

from services.experiments.domain.analysis import adjusted, covariate, difference, ratio
from services.experiments.domain.power import Traffic
from services.experiments.domain.sequential import ALPHA, critical_z, p_value

# Requests and cost of each user.
CONTROL = [(3, 12), (1, 2), (5, 31), (2, 6), (8, 40), (1, 9), (4, 10), (2, 11), (6, 25), (3, 7)]
TEST = [
    *((2, 7), (4, 13), (1, 1), (7, 33), (3, 8), (2, 5)),
    *((5, 21), (1, 6), (9, 30), (2, 4), (4, 15)),
]
# Cost and words of users with one request each.
CONTROL_WORDS = [3, 1, 8, 5, 9, 2, 4, 6, 6, 1]
TEST_WORDS = [2, 4, 1, 9, 3, 1, 5, 2, 8, 1, 3]


def nine(value):
    return pytest.approx(value, rel=1e-9)


def ratio_of(users):
    d, m = np.array(users, dtype=float).T
    return ratio(m.sum(), d.sum(), mm=m @ m, md=m @ d, dd=d @ d)


def once(costs):
    return [(1, cost) for cost in costs]


def words_of(users, words):
    d, m = np.array(users, dtype=float).T
    x, k = np.array(words, dtype=float), np.ones(len(words))
    return covariate(
        *(column.sum() for column in (m, d, x, k)),
        xx=x @ x,
        xk=x @ k,
        kk=k @ k,
        mx=m @ x,
        mk=m @ k,
        dx=d @ x,
        dk=d @ k,
    )


def test_with_one_request_a_user_a_difference_is_welchs():
    control, test = [cost for _, cost in CONTROL], [cost for _, cost in TEST]
    expected = stats.ttest_ind(test, control, equal_var=False)

    found = difference(ratio_of(once(control)), ratio_of(once(test)))

    assert expected.statistic == nine(found.t)
    assert expected.df == nine(found.freedom)
    assert expected.pvalue == nine(found.p_value)


def test_z_is_as_surprising_as_t():
    found = difference(ratio_of(CONTROL), ratio_of(TEST))

    assert stats.norm.sf(abs(found.z)) == nine(stats.t.sf(abs(found.t), found.freedom))
    assert np.sign(found.z) == np.sign(found.value)


def test_cuped_of_arms_of_one_size_with_one_request_a_user_is_the_regression_on_arm_and_words():
    control, test = [cost for _, cost in CONTROL], [cost for _, cost in TEST[:-1]]
    arm = np.r_[np.zeros(len(control)), np.ones(len(test))]
    words = np.r_[CONTROL_WORDS, TEST_WORDS[:-1]]
    columns = np.stack([np.ones(len(arm)), arm, words], axis=1)
    _, gap, slope = np.linalg.lstsq(columns, np.r_[control, test], rcond=None)[0]

    a, b = adjusted(
        ratio_of(once(control)),
        ratio_of(once(test)),
        words_of(once(control), CONTROL_WORDS),
        words_of(once(test), TEST_WORDS[:-1]),
    )

    assert gap == nine(float(b.value - a.value))
    residual = np.array(control) - slope * np.array(CONTROL_WORDS)
    assert residual.var(ddof=2) / len(control) == nine(float(a.variance))
    assert len(control) - 1 == a.users  # one of them went into the slope


def test_the_boundary_and_the_p_value_are_one():
    gap = difference(ratio_of(CONTROL), ratio_of(TEST))
    for done in (0.05, 0.3, 1.0):
        for scale in (0.1, 1.0, 5.0):
            z = critical_z(gap.variance, done=done, scale=scale)
            at_boundary = type(gap)(z * np.sqrt(gap.variance), gap.variance, 1e9)

            assert p_value(at_boundary, done=done, scale=scale) == pytest.approx(ALPHA, rel=1e-6)


def test_the_planner_counts_users_as_a_textbook_does():
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    one_look = 2 * 1.4**2 * z**2 / np.log(0.9) ** 2

    assert Traffic(variation=1.4).users_to_find(0.1) == pytest.approx(1.21 * one_look, rel=1e-3)


def test_ratios_and_their_variances_are_those_of_gbstats_but_for_who_counts_how_much():
    control, test = ratio_of(CONTROL), ratio_of(TEST)

    assert (35**2 / 169, 40**2 / 210) == nine((control.users, test.users))
    assert (4.371428571428571, 0.2219638113748898) == nine((control.value, by_head(control, 10)))
    assert (3.575, 0.07891210937499968) == nine((test.value, by_head(test, 11)))
    assert -0.7964285714285708 == nine(difference(control, test).value)


def by_head(found, n):
    """Return the variance with n / (n - 1) of all users, instead of the effective ones."""
    return found.variance * (1 - 1 / found.users) / (1 - 1 / n)


def test_users_who_send_as_much_as_each_other_count_in_full():
    assert 10 == nine(ratio_of([(3, cost) for _, cost in CONTROL]).users)
