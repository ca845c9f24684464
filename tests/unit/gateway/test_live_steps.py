"""A live socket's pushes keep their own steps, whatever held one of them up."""

import pytest

from services.gateway.api.live import next_due


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (10.0, 15.0),  # in time
        (10.3, 15.0),  # late: the next is in time again
        (14.9, 15.0),
        (15.0, 20.0),  # so late that one is left out
        (22.0, 25.0),
        (9.9, 15.0),  # a timer may ring early
    ],
)
def test_what_was_late_is_followed_in_step(now, expected):
    assert expected == next_due(10.0, 5.0, now)
