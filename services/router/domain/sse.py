"""
Server-sent events out of packets that break anywhere. Pure.

Lines end at CR, LF or CRLF and at nothing else: what also splits on U+2028 tears JSON apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):  # noqa: N818
    """A line or an event is larger than any honest one."""


@dataclass(frozen=True, slots=True)
class Event:
    name: str  # "" when the stream names none
    data: bytes


class SseParser:
    """Feed it packets, take events. Comments are heartbeats and vanish here."""

    def __init__(self, *, max_event_bytes: int = 8 * 1024 * 1024) -> None:
        self._max = max_event_bytes
        self._parts: list[bytes] = []  # the unfinished line, in pieces: joining each time is O(n²)
        self._part_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._after_cr = False  # a LF that opens the next packet belongs to this CR
        self._fresh = True

    def feed(self, packet: bytes) -> list[Event]:
        """
        Return the events that this packet completes.

        Raises:
            EventTooLarge: a line or an event is over the bound.
        """
        if (plain := self._plain(packet)) is not None:
            return plain
        events: list[Event] = []
        for line in self._lines(packet):
            if line:
                self._field(line)
            elif self._data:
                events.append(self._event())
            else:
                self._name = ""
        return events

    def end(self) -> list[Event]:
        """Return the event that the stream left without its empty line."""
        if self._parts:
            self._field(b"".join(self._parts))
            self._parts = []
        return [self._event()] if self._data else []

    def _plain(self, packet: bytes) -> list[Event] | None:
        """Read a packet of whole one-line events, as nearly all are, without going line by line."""
        if self._parts or self._data or self._name or self._after_cr:
            return None
        if not packet.endswith(b"\n\n") or b"\r" in packet or len(packet) > self._max:
            return None
        blocks = packet[:-2].split(b"\n\n")
        if all(b.startswith(b"data: ") and b"\n" not in b for b in blocks):
            self._fresh = False  # and no byte order mark: it would be in front of "data"
            return [Event("", b[6:]) for b in blocks]
        return None

    def _lines(self, packet: bytes) -> Iterator[bytes]:
        if self._after_cr and packet:
            self._after_cr = False
            packet = packet.removeprefix(b"\n")
        if not packet:
            return
        *whole, rest = packet.splitlines(keepends=True)  # of bytes: CR, LF, CRLF only
        if rest.endswith((b"\r", b"\n")):
            whole.append(rest)
            self._after_cr = rest.endswith(b"\r")
            rest = b""
        for ended in whole:
            line = ended.rstrip(b"\r\n")
            if self._parts:
                line = b"".join([*self._parts, line])
                self._parts, self._part_bytes = [], 0
            yield self._without_mark(line)
        if rest:
            self._parts.append(rest)
            self._part_bytes += len(rest)
            if self._part_bytes > self._max:
                raise EventTooLarge(f"a line is over {self._max} bytes")

    def _without_mark(self, line: bytes) -> bytes:
        if self._fresh:
            self._fresh = False
            return line.removeprefix(_BOM)
        return line

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value)
            if self._data_bytes > self._max:
                raise EventTooLarge(f"an event is over {self._max} bytes")
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")

    def _event(self) -> Event:
        event = Event(self._name, b"\n".join(self._data))
        self._data, self._data_bytes, self._name = [], 0, ""
        return event
