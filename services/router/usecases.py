"""
The story of one request: repeated, or decided, called, recorded, answered.

A story runs to its end even when its caller has gone: what was asked is still paid.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from common.errors import Failure, TimedOut
from services.router.attempts import Candidates
from services.router.background import Caller, Outlet, Stories
from services.router.domain.catalog import FREE, Catalog, Model
from services.router.domain.decision import Decision
from services.router.domain.entries import Outcome, Pricing
from services.router.domain.form import form_of
from services.router.domain.request import Ask, Usage
from services.router.domain.strategies import Strategies
from services.router.domain.verifier import Answered, signs_of
from services.router.second_opinion import second_opinion
from services.router.store.answers import Answers, KeptAnswer, key_of
from services.router.store.conversations import Conversations
from services.router.store.entry import Closed, Entry
from services.router.store.ledger import Ledger
from services.router.store.metrics import CACHED
from services.router.store.snapshots import Snapshots
from services.router.way import Way

NOTHING_USED = Usage(0, 0)
MOST_FLIGHTS = 2  # waited for; a caller is not to pay with its time for one failure after another


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the caller is told. Of a stream there are two: as it starts, and when it has ended."""

    body: bytes = b""  # an OpenAI answer as JSON; empty for a stream
    provider: str
    model: str
    strategy: str
    confidence: str
    decision_json: bytes
    learning: Mapping[str, Any] = field(default_factory=dict)  # kept with the answer, not shown
    usage: Usage = NOTHING_USED
    cost_nano_usd: int | None = None
    pricing: Pricing = "unpriced"
    baseline_cost_nano_usd: int | None = None
    original_cost_nano_usd: int | None = None
    cache_hit: bool = False
    cache_key: str | None = None
    finish_reason: str = ""
    tail: Sequence[bytes] = ()  # of an ended stream: the chunks with finish_reason and usage
    fallbacks: int = 0
    latency_ms: float = 0
    overhead_ms: float = 0  # of the latency, not spent waiting for providers
    finished: bool = True


StreamEvent = Answer | Sequence[bytes]  # what started, batches of chunks, what finished


class Routing:
    """
    Args:
        catalog: Gives the catalog of this moment.
        strategies: Decide.
        candidates: Call, in the order of a decision.
        ledger: Records; without it nothing is served.
        answers: Remembers exact repeats; may forget at any moment.
        conversations: Remembers who answered the turn before; may forget as well.
        snapshots: Keep what was learned at a moment, for who asks to decide with that.
    """

    def __init__(
        self,
        *,
        catalog: Callable[[], Catalog],
        strategies: Strategies,
        candidates: Candidates,
        ledger: Ledger,
        answers: Answers,
        conversations: Conversations,
        snapshots: Snapshots,
    ) -> None:
        self._catalog = catalog
        self._strategies = strategies
        self._candidates = candidates
        self._ledger = ledger
        self._answers = answers
        self._conversations = conversations
        self._snapshots = snapshots
        self._stories = Stories()

    @property
    def catalog(self) -> Catalog:
        return self._catalog()

    def strategy_names(self) -> list[str]:
        return self._strategies.names()

    async def decide(self, ask: Ask) -> Decision:
        """
        Decide without calling or recording.

        Only a snapshot that is not in memory is waited for, for a moment.

        Raises:
            Invalid, NotFound, Unavailable: as `Strategy.decide`.
        """
        if ask.model:
            return self._strategies.decide_pinned(ask)
        strategy = self._strategies.get(ask.strategy)
        if snapshot := ask.strategy.snapshot:
            frozen = await self._snapshots.at(snapshot)
            strategy = self._strategies.get(ask.strategy, frozen)
        return strategy.decide(ask, self.catalog)

    async def complete(self, ask: Ask, *, timeout_s: float) -> Answer:
        """
        Serve one completion: from the cache, or from the first candidate that answers.

        Only the ledger is indispensable: no answer leaves before its row is durable.

        Raises:
            As `decide` and `Candidates.first_answer`.
        """
        return await self._stories.tell(lambda caller: self._complete(ask, caller, timeout_s))

    async def embed(self, ask: Ask, *, timeout_s: float) -> Answer:
        """Turn texts into vectors with the pinned model; otherwise as `complete`, never cached."""
        return await self._stories.tell(lambda caller: self._embed(ask, caller, timeout_s))

    def stream(self, ask: Ask, *, timeout_s: float) -> AsyncGenerator[StreamEvent, None]:
        """Serve one completion as it comes: what started, batches of chunks, what finished."""
        return self._stories.stream(lambda outlet: self._stream(ask, outlet, timeout_s))

    async def drain(self, timeout_s: float) -> None:
        """Let the stories under way end."""
        await self._stories.drain(timeout_s)

    async def _complete(self, ask: Ask, caller: Caller, timeout_s: float) -> Answer:
        deadline = time.monotonic() + timeout_s
        async with self._request(ask, timeout_s) as entry:
            way = Way(ask, entry, caller, deadline)
            key = key_of(ask)
            if key is None:
                CACHED["bypass"].inc()
                return await self._decide_and_ask(way)
            for _ in range(MOST_FLIGHTS):
                if (flight := self._answers.flight(key)) is None:
                    return await self._find_or_ask(way, key)
                if kept := await _landed(flight, deadline):  # an equal call was under way
                    CACHED["shared"].inc()
                    return await self._repeat(entry, key, kept)
            CACHED["miss"].inc()
            return await self._decide_and_ask(way, key)

    async def _find_or_ask(self, way: Way, key: str) -> Answer:
        self._answers.take_off(key)
        kept = None
        try:
            kept = await self._answers.find(key)
            CACHED["hit" if kept else "miss"].inc()
            if kept:
                return await self._repeat(way.entry, key, kept)
            answer = await self._decide_and_ask(way, key)
            kept = _to_keep(
                answer, way.ask
            )  # those who wait have asked for the same: they share any end
            if answer.finish_reason == "stop":
                self._answers.keep(key, kept)
            return answer
        finally:
            self._answers.land(key, kept)

    async def _decide_and_ask(self, way: Way, key: str | None = None) -> Answer:
        way = replace(way, ask=await self._conversations.recall(way.ask))
        answer = await self._ask_providers(way, await self.decide(way.ask))
        return replace(answer, cache_key=key)

    def _request(self, ask: Ask, timeout_s: float) -> Entry:
        baseline = self.catalog.baseline_price()
        if baseline and ask.internal:
            baseline = FREE
        return self._ledger.request(ask, deadline_s=timeout_s, baseline=baseline)

    async def _embed(self, ask: Ask, caller: Caller, timeout_s: float) -> Answer:
        deadline = time.monotonic() + timeout_s
        async with self._ledger.request(ask, deadline_s=timeout_s) as entry:
            decision = self._strategies.decide_pinned(ask, embeddings=True)
            way = Way(ask, entry, caller, deadline)
            return await self._ask_providers(way, decision)

    async def _ask_providers(self, way: Way, decision: Decision) -> Answer:
        _stay_for(way.caller)
        async with _explained(way.entry, decision):
            served = await self._candidates.first_answer(
                way.ask, decision, way.entry, deadline=way.deadline, caller=way.caller
            )
            served, decision = await second_opinion(self._candidates, way, decision, served)
        read = _read(way.ask, orjson.loads(served.body))
        decision = decision.noting(signs_of(read)) if read else decision
        closed = await way.entry.close(outcome=served.outcome, decision=decision)
        if read:
            self._conversations.keep(way.ask, read.answer, served.answered, served.usage)
        answer = replace(
            _begun(decision, served.answered), body=served.body, finish_reason=served.finish_reason
        )
        return _ended(answer, closed, served.provider_ms)

    async def _repeat(self, entry: Entry, key: str, kept: KeptAnswer) -> Answer:
        """Give an answer again: it costs nothing now."""
        closed = await entry.close(
            decision=kept,
            cache_hit=True,
            usage=kept.usage,
            provider=kept.provider,
            model=kept.model,
        )
        answer = Answer(
            body=kept.body,
            provider=kept.provider,
            model=kept.model,
            strategy=kept.strategy,
            confidence=kept.confidence,
            decision_json=kept.decision_json,
            original_cost_nano_usd=kept.cost_nano_usd,
            cache_hit=True,
            cache_key=key,
        )
        return _ended(answer, closed, provider_ms=0)

    async def _stream(self, ask: Ask, outlet: Outlet[StreamEvent], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        async with self._request(ask, timeout_s) as entry:
            CACHED["bypass"].inc()
            ask = await self._conversations.recall(ask)
            decision = await self.decide(ask)
            _stay_for(outlet)
            async with _explained(entry, decision):
                served = await self._candidates.first_stream(
                    ask, decision, entry, deadline=deadline, caller=outlet
                )
            answer = _begun(decision, served.answered)
            await outlet.put(replace(answer, fallbacks=served.fallbacks, finished=False))
            async with (
                _explained(entry, decision, outcome="truncated"),
                aclosing(aiter(served)) as batches,  # settles, however we leave
            ):
                async for batch in batches:
                    await outlet.put(batch)
            read = _read(ask, served.read())
            closed = await entry.close(
                outcome=served.outcome,
                decision=decision.noting(signs_of(read)) if read else decision,
                ttft_ms=served.ttft_ms,
                fallbacks=served.fallbacks,
            )
            answer = replace(  # another one may have gone on where the first broke off
                answer, provider=served.answered.provider, model=served.answered.name
            )
            if read:
                self._conversations.keep(ask, read.answer, served.answered, served.usage)
            ended = _ended(answer, closed, served.provider_ms)
            await outlet.put(replace(ended, tail=served.tail))


def _read(ask: Ask, answer: Mapping[str, Any]) -> Answered | None:
    """Read a chat completion; None of embeddings, or of a stream that was not only text."""
    if "choices" not in answer:
        return None
    return Answered.read(answer, prompt="", form=form_of(ask.body))


@asynccontextmanager
async def _explained(
    entry: Entry, decision: Decision, *, outcome: Outcome = "failed"
) -> AsyncIterator[None]:
    """Close a request that fails with the decision that led there."""
    try:
        yield
    except Failure as failure:
        await entry.close(outcome=outcome, decision=decision, error=failure.code)
        raise


def _stay_for(caller: Caller) -> None:
    """Stop here if nobody waits any more: nothing was sent yet. The entry closes as cancelled."""
    if caller.gone:
        raise asyncio.CancelledError


async def _landed(flight: asyncio.Future[KeptAnswer | None], deadline: float) -> KeptAnswer | None:
    """
    Wait for an equal call; None: it has nothing to share.

    Raises:
        TimedOut: our own caller's time is up first.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.shield(flight)
    except TimeoutError:
        raise TimedOut("an equal request that was asked before took too long") from None


def _begun(decision: Decision, answered: Model) -> Answer:
    return Answer(
        provider=answered.provider,
        model=answered.name,
        strategy=decision.strategy,
        confidence=decision.confidence,
        decision_json=orjson.dumps(decision.explanation),
        learning=decision.learning,
    )


def _ended(answer: Answer, closed: Closed, provider_ms: float) -> Answer:
    return replace(
        answer,
        usage=closed.usage,
        cost_nano_usd=closed.cost_nano_usd,
        pricing=closed.pricing,
        baseline_cost_nano_usd=closed.baseline_cost_nano_usd,
        fallbacks=closed.fallbacks,
        latency_ms=closed.latency_ms,
        overhead_ms=max(closed.latency_ms - provider_ms, 0.0),
    )


def _to_keep(answer: Answer, ask: Ask) -> KeptAnswer:
    return KeptAnswer(
        body=answer.body,
        provider=answer.provider,
        model=answer.model,
        strategy=answer.strategy,
        confidence=answer.confidence,
        usage=answer.usage,
        cost_nano_usd=answer.cost_nano_usd,
        decision_json=answer.decision_json,
        learning=answer.learning,
        request_id=ask.request_id,
        tenant=ask.tenant,
    )
