"""Trends: a change is told with what it may be off."""

import numpy as np
import pytest

from services.router.domain.trends import FEWEST, Side, change, side_of, t_quantile

EXPERIMENTS = 3_000


def a_side(*outcomes, weights=None):
    pairs = list(zip(weights or [1.0] * len(outcomes), outcomes, strict=True))
    return side_of(Side(1, w, w * x, w * w, w * w * x, w * w * x * x) for w, x in pairs)


def test_a_change_is_later_less_earlier():
    found = change(a_side(*[1.0, 0.5] * 20), a_side(*[0.5, 0.0] * 20))

    assert pytest.approx(-0.5) == found.value
    assert found.low < -0.5 < found.high < 0


def test_what_may_be_chance_includes_no_change():
    found = change(a_side(*[1.0, 0.0] * 6), a_side(*[1.0, 0.0, 1.0] * 4))

    assert found.low < 0 < found.high


def test_ten_equal_outcomes_are_not_certain():
    found = change(a_side(*[1.0] * FEWEST), a_side(*[1.0] * FEWEST))

    assert 0 == found.value
    assert found.low < -0.1 < 0.1 < found.high


def test_few_outcomes_say_nothing():
    assert change(a_side(*[1.0] * (FEWEST - 1)), a_side(*[0.0] * 100)) is None


def test_days_add_up():
    days = [Side(1, 1.0, 1.0, 1.0, 1.0, 1.0), Side(2, 1.0, 0.5, 0.5, 0.25, 0.125)]

    assert Side(3, 2.0, 1.5, 1.5, 1.25, 1.125) == side_of(days)


def test_what_weighed_more_in_learning_moves_the_mean_more():
    assert 0.75 == a_side(1.0, 0.0, weights=[3.0, 1.0]).mean


def test_equal_weights_are_no_weights():
    outcomes = [1.0, 0.0, 0.5] * 5
    plain = change(a_side(*outcomes), a_side(*outcomes[:12]))
    light = change(a_side(*outcomes, weights=[0.3] * 15), a_side(*outcomes[:12], weights=[2] * 12))

    assert (plain.value, plain.low, plain.high) == pytest.approx(
        (light.value, light.low, light.high)
    )


def test_one_heavy_outcome_is_no_sample():
    heavy = a_side(*[1.0, 0.0] * 10, weights=[1000.0] + [0.1] * 19)

    assert change(heavy, a_side(*[1.0, 0.0] * 10)) is None


def test_no_interval_leaves_what_is_possible():
    found = change(a_side(*[0.0] * 9, 1.0), a_side(*[1.0] * 9, 0.0))
    wild = change(a_side(*[0.0] * 10), a_side(*[1.0] * 10))

    assert -1 <= found.low < found.value < found.high <= 1
    assert (1.0, 1.0) == (wild.value, wild.high)


@pytest.mark.parametrize(
    ("quality", "counts"), [((0.5, 0.5), (10, 10)), ((0.6, 0.8), (25, 40)), ((0.5, 0.8), (10, 100))]
)
def test_nineteen_intervals_in_twenty_hold_the_truth(quality, counts):
    dice = np.random.default_rng(7)

    def sampled(good, count):
        x = (dice.random((EXPERIMENTS, count)) < good).astype(float)
        w = dice.choice((0.5, 1.0), (EXPERIMENTS, count))
        sums = np.stack([one.sum(axis=1) for one in (w, w * x, w * w, w * w * x, w * w * x * x)])
        return [Side(count, *row) for row in sums.T.tolist()]

    truth = quality[1] - quality[0]
    sides = [sampled(*one) for one in zip(quality, counts, strict=True)]
    held = sum(found.low <= truth <= found.high for found in map(change, *sides))

    assert held / EXPERIMENTS > 0.92  # of 40,000: 0.930, 0.942, 0.933; 3,000 err by 0.005


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(3, 3.182), (9, 2.262), (30, 2.042), (1e9, 1.960)]
)
def test_quantiles_of_student_are_those_of_the_tables(freedom, quantile):
    assert quantile == pytest.approx(t_quantile(freedom), abs=0.005)
