"""Which default serves a request, and which experiment it joins."""

import pytest

from services.gateway.domain.defaults import (
    Default,
    Enrolling,
    Scope,
    default_of,
    experiment_of,
    place,
)

ANYONE, TEAM, TAG, BOTH = Scope(), Scope("a"), Scope("", "t"), Scope("a", "t")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Scope("a", "t"), "both"),
        (Scope("a"), "team"),
        (Scope("a", "other"), "team"),
        (Scope("b", "t"), "tag"),
        (Scope("b"), "anyone"),
    ],
)
def test_the_narrowest_scope_decides(asked, expected):
    defaults = [
        Default(ANYONE, "anyone"),
        Default(BOTH, "both"),
        Default(TEAM, "team"),
        Default(TAG, "tag"),
    ]

    assert expected == default_of(defaults, asked)
    assert expected == default_of(defaults[::-1], asked)


def test_where_nothing_was_promoted_there_is_no_default():
    assert default_of([], Scope("a", "t")) is None
    assert default_of([Default(BOTH, "both")], Scope("a")) is None


def test_users_of_a_layer_are_in_one_experiment_each_and_by_their_shares():
    layer = [
        Enrolling(1, ANYONE, "prices", 0.0, 0.5),
        Enrolling(2, ANYONE, "prices", 0.5, 0.8),
    ]
    joined = [experiment_of(layer, Scope("a"), f"user{n}") for n in range(2_000)]

    assert 0.45 < joined.count(1) / 2_000 < 0.55
    assert 0.25 < joined.count(2) / 2_000 < 0.35
    assert joined == [experiment_of(layer[::-1], Scope("a"), f"user{n}") for n in range(2_000)]


def test_the_same_user_stands_elsewhere_in_another_layer():
    assert 0 <= place("one", "user1") < 1
    assert place("one", "user1") != place("two", "user1")
    assert place("one", "user1") == place("one", "user1")


def test_who_is_nobody_or_out_of_scope_joins_nothing():
    enrolling = [Enrolling(1, TEAM, "1", 0.0, 1.0)]

    assert 0 == experiment_of(enrolling, Scope("a"), "")
    assert 0 == experiment_of(enrolling, Scope("b"), "user1")
    assert 1 == experiment_of(enrolling, Scope("a", "any"), "user1")
