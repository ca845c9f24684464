"""Outcomes: what people say as a number, and how much one of them may say."""

import pytest

from services.router.domain.outcome import MOST_OF_ONE_USER, capped, outcome_of


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"quality_score": 1}, ("stars", 0.0)),
        ({"quality_score": 4}, ("stars", 0.75)),
        ({"votes": {"up": 1, "down": 3}}, ("votes", 0.25)),
        ({"quality_score": 5, "votes": {"up": 0, "down": 3}}, ("stars", 1.0)),
        ({"quality_score": 0, "votes": {"up": 2, "down": 0}}, ("votes", 1.0)),
        ({"quality_score": True}, None),
        ({"quality_score": 6}, None),
        ({"quality_score": "5"}, None),
        ({"votes": {"up": 0, "down": 0}}, None),
        ({"votes": {"up": -3, "down": "x"}}, None),
        ({"votes": [1, 2]}, None),
        ({}, None),
    ],
)
def test_what_is_said_is_a_number_or_nothing(details, expected):
    assert expected == outcome_of(details)


def test_one_of_many_counts_in_full():
    assert 1.0 == capped(1.0, own=3.0, everyone=100.0)


@pytest.mark.parametrize(("own", "everyone"), [(0.0, 0.0), (1.9, 1.9), (15.0, 70.0)])
def test_one_user_is_at_most_a_fifth(own, everyone):
    weight = capped(10.0, own=own, everyone=everyone)

    assert 0 < weight < 10
    assert pytest.approx(own + weight) == MOST_OF_ONE_USER * (everyone + 8 + weight)


def test_who_has_said_too_much_says_nothing_more():
    assert 0.0 == capped(1.0, own=50.0, everyone=60.0)
