"""Assignment: fixed for ever, so that old results keep their meaning."""

import pytest

from services.experiments.domain.assignment import assign, bucket

ARMS = ("control", "test")


@pytest.mark.parametrize(
    ("experiment_id", "user_id", "expected"),
    [
        (1, "user123", "test"),
        (1, "test_user_123", "control"),
        (1, "recording_user", "control"),
        (1, "user0", "test"),
        (1, "user1", "control"),
        (1, "user2", "test"),
        (2, "user123", "test"),
        (42, "alice", "test"),
        (42, "bob", "control"),
    ],
)
def test_the_vectors_of_the_contract_hold(experiment_id, user_id, expected):
    assert expected == assign(experiment_id, user_id, ARMS)


def test_both_arms_get_about_half():
    control = sum(assign(1, f"user{n}", ARMS) == "control" for n in range(1000))

    assert 450 <= control <= 550


def test_a_user_is_hashed_as_utf8():
    assert 0x8D318C1F == bucket(7, "Zoë")  # what md5sum says of these bytes


def test_of_three_arms_each_gets_its_third():
    counts = [0, 0, 0]
    for n in range(3000):
        counts[assign(1, f"user{n}", (0, 1, 2))] += 1

    assert all(850 <= count <= 1150 for count in counts)


def test_equal_weights_are_no_weights():
    users = [f"user{n}" for n in range(100)]

    assert [assign(1, user, ARMS) for user in users] == [
        assign(1, user, ARMS, [2.0, 2.0]) for user in users
    ]


def test_unequal_weights_give_their_shares():
    arms = [assign(3, f"user{n}", "abc", [6, 3, 1]) for n in range(5_000)]

    assert [0.6, 0.3, 0.1] == pytest.approx([arms.count(a) / 5_000 for a in "abc"], abs=0.02)


def test_the_last_arm_takes_what_rounding_leaves():
    assert "b" == assign(1, "user0", "ab", [1e-300, 1.0])
