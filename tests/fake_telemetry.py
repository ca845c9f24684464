"""What somebody who listens to OpenTelemetry would hear, in memory."""

import asyncio
import secrets
from dataclasses import dataclass, field

from common.trace import trace_id_of


@dataclass
class FakeSpan:
    name: str
    parent: str
    about: dict
    client: bool
    traceparent: str
    ends: int = 0
    error: str = ""
    failed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def trace_id(self):
        return trace_id_of(self.traceparent)

    def end(self, attributes, *, name="", error="", failed=True):
        self.ends += 1
        self.ended.set()
        self.about |= attributes
        self.name = name or self.name
        self.error, self.failed = error, bool(error) and failed


@dataclass
class FakeTelemetry:
    spans: list[FakeSpan] = field(default_factory=list)
    observed: list[tuple] = field(default_factory=list)

    def begin(self, name, *, parent, attributes, client=False):
        trace_id = trace_id_of(parent) or secrets.token_hex(16)
        own = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        span = FakeSpan(name, parent, dict(attributes), client, own)
        self.spans.append(span)
        return span

    def observe(self, metric, value, attributes):
        self.observed.append((metric, value, attributes))

    async def close(self):
        pass

    @property
    def endings(self):
        """Of every span: its name, what went wrong, whether it failed; each must have ended."""
        assert {1} == {span.ends for span in self.spans}, self.spans
        return [(span.name, span.error, span.failed) for span in self.spans]
