"""Trace context: what is taken for a traceparent, and what goes on with a call."""

import pytest
import structlog

from common import trace

REQUEST = "019372b1-2222-7333-8444-555566667777"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("parent", [PARENT, f"cc-{PARENT[3:]}", f"cc-{PARENT[3:]}-what-comes"])
def test_a_traceparent_names_its_trace(parent):
    assert TRACE == trace.trace_id_of(parent)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        PARENT.upper(),
        f"ff-{PARENT[3:]}",  # no version
        f"{PARENT}-more",  # version 00 has no more
        f"cc-{PARENT[3:]}x",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" {PARENT}",
        f"cc-{PARENT[3:]}-{'x' * 300}",
    ],
)
def test_what_is_none_names_nothing(parent):
    assert "" == trace.trace_id_of(parent)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PARENT.encode(), PARENT),
        (f"cc-{PARENT[3:]}-\xff".encode("latin-1"), PARENT),  # what is behind could not be sent
        (None, "00-019372b1222273338444555566667777-8444555566667777-00"),
        (b"\xff garbage", "00-019372b1222273338444555566667777-8444555566667777-00"),
    ],
)
def test_a_request_goes_on_as_itself(given, expected):
    with trace.traced(REQUEST, given):
        sent = dict(trace.metadata())
        logged = structlog.contextvars.get_contextvars()

    assert {"traceparent": expected, "x-request-id": REQUEST} == sent
    assert {"request_id": REQUEST, "trace_id": trace.trace_id_of(expected)} == logged
    assert () == trace.metadata()
