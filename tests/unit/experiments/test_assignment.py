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
