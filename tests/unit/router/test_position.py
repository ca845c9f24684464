"""Cursors: given out as text, taken back only as given."""

import pytest

from common.errors import Invalid
from services.router.domain.position import START, Position


def test_a_cursor_comes_back_as_it_was_given():
    position = Position(1767225600, 2**62, 17)

    assert position == Position.parse(str(position))


def test_positions_compare_epoch_first():
    assert START < Position(1, 900, 5) < Position(2, 3, 1) < Position(2, 3, 2)


@pytest.mark.parametrize(
    "cursor",
    ["0", "1.2", "1.2.3.4", "-1.2.3", "1.2.x", " 1.2.3", f"1.{2**63}.1", "1.2.٣", "1.2.3\n"],
)
def test_anything_else_is_refused(cursor):
    with pytest.raises(Invalid, match="cursor"):
        Position.parse(cursor)
