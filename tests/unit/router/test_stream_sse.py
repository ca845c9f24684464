"""Server-sent events come out the same wherever the packets break."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.sse import Event, EventTooLarge, SseParser


def parsed(*packets, **options):
    parser = SseParser(**options)
    return [event for packet in packets for event in parser.feed(packet)] + parser.end()


STREAM = (
    "event: x\r\ndata: zwölf \u2028 \u0085 \U0001f600\r\n\r\n"
    ": ping\n\ndata: a\rdata: b\r\rdata: c\n\n"
).encode()
EVENTS = [
    Event("x", "zwölf \u2028 \u0085 \U0001f600".encode()),
    Event("", b"a\nb"),
    Event("", b"c"),
]


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_a_packet_may_end_at_any_byte(at):
    assert parsed(STREAM[:at], STREAM[at:]) == EVENTS


def test_every_byte_may_be_a_packet():
    assert parsed(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_any_packets_give_the_same_events(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]

    packets = [STREAM[a:b] for a, b in pairwise(edges)]

    assert parsed(*packets) == EVENTS


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_cr_and_lf_end_a_line(separator):
    data = f"a{separator}b".encode()

    assert parsed(b"data: " + data + b"\n\n") == [Event("", data)]


def test_heartbeats_are_no_events():
    assert parsed(b": ping\n\n:\n\n\n\n") == []


def test_a_mark_at_the_start_is_no_part_of_a_name():
    assert parsed(b"\xef\xbb\xbfdata: a\n\n") == [Event("", b"a")]


def test_one_space_after_the_colon_is_none_of_the_data():
    assert parsed(b"data:a\ndata:  b\n\n") == [Event("", b"a\n b")]


def test_what_lacks_its_empty_line_comes_at_the_end():
    assert parsed(b"data: a") == [Event("", b"a")]


@pytest.mark.parametrize(
    "packets",
    [[b"data: " + b"x" * 200], [b"x" * 60, b"x" * 60], [b"data: " + b"x" * 60 + b"\n"] * 2],
)
def test_what_is_larger_than_any_honest_event_is_refused(packets):
    with pytest.raises(EventTooLarge):
        parsed(*packets, max_event_bytes=100)
