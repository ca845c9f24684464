"""Trends: a change is told with what it may be off."""

import pytest

from services.router.domain.trends import FEWEST, Side, change, side_of


def a_side(*outcomes):
    return side_of([(1, one, one * one) for one in outcomes])


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
    assert Side(3, 1.5, 1.25) == side_of([(1, 1.0, 1.0), (2, 0.5, 0.25)])
