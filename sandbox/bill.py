"""What the sandbox would invoice: one entry for each response it generated, delivered or not."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice


@dataclass(slots=True)
class Entry:
    seq: int  # where it stands on the bill; `?after=` takes it
    response_id: str
    client_request_id: str | None  # the caller's X-Client-Request-Id
    model: str
    input_tokens: int  # cached ones included
    cached: int
    output_tokens: int
    cost_nano_usd: int
    streamed: bool
    delivered: bool = False  # everything generated was sent while the client was there
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Bill:
    def __init__(self, limit: int) -> None:
        self._entries: deque[Entry] = deque()
        self._limit = limit
        self._next_seq = 1
        self.dropped = 0  # entries forgotten because the bill was full: then it is not complete
        self.total_nano_usd = 0  # of everything ever added since the bill was cleared
        self.in_flight = 0  # requests being answered: they may still add an entry

    def add(
        self,
        *,
        response_id: str,
        client_request_id: str | None,
        model: str,
        tokens: tuple[int, int, int],
        cost_nano_usd: int,
        streamed: bool,
    ) -> Entry:
        """Bill one response. *tokens* are input, cached and output; `delivered` is set later."""
        entry = Entry(
            self._next_seq,
            response_id,
            client_request_id,
            model,
            *tokens,
            cost_nano_usd,
            streamed,
        )
        self._next_seq += 1
        self._entries.append(entry)
        self.total_nano_usd += cost_nano_usd
        if len(self._entries) > self._limit:
            self._entries.popleft()
            self.dropped += 1
        return entry

    def page(self, after: int, limit: int) -> tuple[Sequence[Entry], bool]:
        """Return up to *limit* entries behind *after*, oldest first, and whether there are more."""
        if not self._entries:
            return [], False
        skip = max(0, after - self._entries[0].seq + 1)
        page = list(islice(self._entries, skip, skip + limit))
        return page, skip + limit < len(self._entries)

    def clear(self) -> int:
        """Forget every entry; `seq` goes on counting. Returns how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self.dropped = 0
        self.total_nano_usd = 0
        return count
