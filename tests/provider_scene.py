"""Two providers that do as they are told, a ledger in memory, and what asks them."""

import json
import time

from common.errors import Unavailable
from services.router.attempts import Candidates
from services.router.domain.catalog import Timeouts
from services.router.domain.decision import Candidate, Decision
from services.router.domain.entries import Kind
from services.router.providers.breaker import Breakers
from services.router.providers.client import ProviderClient
from services.router.store.entry import Entry
from tests.router_builders import a_catalog, a_model, a_provider, an_ask

LARGE = a_model("acme/large")
SMALL = a_model("beta/small", context_tokens=1_000)
BIG = a_model("beta/big", context_tokens=1_000_000)
QUICK = Timeouts(connect_s=1, first_token_s=0.3, idle_s=0.3, total_s=1)


class Scene:
    """Two providers, a ledger in memory, and what asks them."""

    def __init__(self, first, second, **options):
        self.first, self.second = first, second
        timeouts = options.pop("timeouts", QUICK)
        providers = {
            "acme": a_provider("acme", base_url=first.url, timeouts=timeouts),
            "beta": a_provider("beta", base_url=second.url, timeouts=timeouts),
        }
        catalog = a_catalog(LARGE, SMALL, BIG, providers=providers)
        self.client = ProviderClient(lambda: catalog, key_of=lambda _: "secret")
        self.breakers = Breakers(**options.pop("breakers", {}))
        self.candidates = Candidates(self.client, self.breakers, **options)
        self.rows = []
        self.broken = False  # the ledger

    async def append(self, rows):
        if self.broken:
            raise Unavailable("nowhere to write")
        self.rows.extend(rows)

    async def answer(self, *models, within_s=5.0, caller=None, **body):
        ask = an_ask("hi", **body)
        async with Entry(ask, append=self.append, deadline_s=within_s) as entry:
            served = await self.candidates.first_answer(
                ask, a_decision(*models), entry,
                deadline=time.monotonic() + within_s, caller=caller,
            )  # fmt: skip
            await entry.close(outcome=served.outcome)
            return served

    async def stream(self, *models, within_s=5.0, caller=None, on_batch=None):
        """Return (the chunks that left before the end, what was served)."""
        ask = an_ask("hi", streamed=True, stream_options={"include_usage": True})
        chunks = []
        async with Entry(ask, append=self.append, deadline_s=within_s) as entry:
            served = await self.candidates.first_stream(
                ask, a_decision(*models), entry,
                deadline=time.monotonic() + within_s, caller=caller,
            )  # fmt: skip
            async for batch in served:
                chunks.extend(json.loads(c) for c in batch)
                if on_batch:
                    on_batch()
            await entry.close(outcome=served.outcome)
        return chunks, served

    @property
    def settled(self):
        return [r for r in self.rows if r.kind is Kind.SETTLED]

    @property
    def outcomes(self):
        return [(r.model, r.outcome) for r in self.settled]


def a_decision(*models):
    candidates = tuple(Candidate(m, 1_000, 0.8) for m in models or (LARGE, SMALL))
    return Decision("complexity", "high", candidates)


def text_of(chunks):
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
