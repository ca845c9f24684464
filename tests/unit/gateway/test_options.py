"""Routing options travel in headers."""

import pytest

from common.errors import Invalid
from services.gateway.domain.options import MAX_ID, NOTHING_SAID, Options, read_options

STRATEGIES = ("cheapest", "best")


def test_nothing_said_is_nothing_wanted():
    assert NOTHING_SAID == read_options({b"host": b"localhost"}, strategies=STRATEGIES)


def test_everything_can_be_said():
    headers = {
        b"x-optimizer-strategy": b"best",
        b"x-optimizer-experiment-id": str(MAX_ID).encode(),
        b"x-optimizer-user-id": "zoë".encode(),
        b"x-optimizer-cache": b"off",
    }

    said = read_options(headers, strategies=STRATEGIES)

    assert Options("best", MAX_ID, "zoë", use_cache=False) == said


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-optimizer-strategy", b"magic"),
        ("x-optimizer-experiment-id", b"1.0"),
        ("x-optimizer-experiment-id", b" 1"),
        ("x-optimizer-experiment-id", b"+1"),
        ("x-optimizer-experiment-id", str(MAX_ID + 1).encode()),
        ("x-optimizer-cache", b"ON"),
        ("x-optimizer-user-id", b"\xff"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(header, value):
    with pytest.raises(Invalid) as refused:
        read_options({header.encode(): value}, strategies=STRATEGIES)

    assert header == refused.value.param
