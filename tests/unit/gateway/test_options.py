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
        b"x-optimizer-strategy-parameters": b' {"preset": "economy"}',
    }

    said = read_options(headers, strategies=STRATEGIES)

    assert said == Options(
        "best", MAX_ID, "zoë", use_cache=False, parameters_json=b'{"preset":"economy"}'
    )


@pytest.mark.parametrize(
    ("sent", "parameters"),
    [
        (b"{}", b""),  # nothing is said
        (b'{"min_quality": 0.9}', b'{"min_quality":0.9}'),
        ('{"model": "zoë"}'.encode(), '{"model":"zoë"}'.encode()),
        (rb'{"model": "\\u0000"}', rb'{"model":"\\u0000"}'),  # speaks of NUL, has none
        (b'{"a":"%b"}' % (b"a" * 1992), b'{"a":"%b"}' % (b"a" * 1992)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_parameters_are_a_json_object(sent, parameters):
    said = read_options({b"x-optimizer-strategy-parameters": sent}, strategies=STRATEGIES)

    assert parameters == said.parameters_json


BAD_PARAMETERS = [
    b"",
    b"economy",
    b"null",
    b'["preset"]',
    b'{"preset": "economy"',
    b'{"preset": "economy"} {}',
    b'{"min_quality": NaN}',
    b'{"min_quality": 1e999}',
    b'{"preset": "\\ud800"}',
    b'{"preset": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"preset": "\xff"}',
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b"[" * 2000,
    b'{"a":"%b"}' % (b"a" * 1993),
]


@pytest.mark.parametrize("sent", BAD_PARAMETERS, ids=lambda value: repr(value)[:20])
def test_anything_else_is_no_parameters(sent):
    with pytest.raises(Invalid) as refused:
        read_options({b"x-optimizer-strategy-parameters": sent}, strategies=STRATEGIES)

    assert refused.value.param == "x-optimizer-strategy-parameters"


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
