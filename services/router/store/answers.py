"""
Exact repeats, served from Redis. Losing it all costs money, never correctness.

A key covers the tenant, the model policy and the canonical request, so nobody ever sees an
answer that somebody else paid for, or one that another policy chose.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import orjson

from common.cache import Cache
from services.router.domain.request import Ask, Usage

LARGEST_BYTES = 256 * 1024  # a larger answer is rare, and would push many small ones out

# What a client may vary without asking for another answer.
_IRRELEVANT = ("model", "user", "stream", "stream_options", "metadata", "store")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was once given, with what it cost then."""

    body: bytes  # OpenAI chat.completion, JSON
    provider: str
    model: str
    strategy: str
    confidence: str
    usage: Usage
    cost_nano_usd: int | None
    decision_json: bytes
    learning: Mapping[str, Any] = field(default_factory=dict)  # what feedback on a repeat needs
    request_id: UUID | None = None  # that was answered first; None: kept before votes were
    tenant: str = ""  # whose request that was

    @property
    def explanation(self) -> Mapping[str, Any]:
        """Why that model gave it: what is learnt of a repeat is learnt of the same decision."""
        explanation: Mapping[str, Any] = orjson.loads(self.decision_json)
        return explanation

    def pack(self) -> bytes:
        """Encode as one line of facts, one line of decision, then the body as it is."""
        facts = {
            key: value
            for key, value in asdict(self).items()
            if key not in ("body", "decision_json")
        }
        return b"\n".join((orjson.dumps(facts), self.decision_json, self.body))

    @classmethod
    def unpack(cls, packed: bytes) -> "KeptAnswer | None":
        """Decode what `pack` made; None for anything else."""
        try:
            facts_json, decision_json, body = packed.split(b"\n", 2)
            facts = orjson.loads(facts_json)
            orjson.loads(decision_json)
            usage = Usage(**facts.pop("usage"))
            facts["learning"] = dict(facts.get("learning") or {})
            first = facts.get("request_id")
            facts["request_id"] = UUID(first) if first else None
            return cls(body=body, usage=usage, decision_json=decision_json, **facts)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def key_of(ask: Ask) -> str | None:
    """
    Return the key of *ask*; None if it must not be cached (experiments, streams) or cannot.

    Who decides with a snapshot compares strategies, as experiments do: a repeat compares nothing.
    """
    compared = ask.experiment_id is not None or bool(ask.strategy.snapshot)
    if not ask.use_cache or ask.streamed or compared:
        return None
    request = {key: value for key, value in ask.body.items() if key not in _IRRELEVANT}
    policy = ask.model or [ask.strategy.name, dict(ask.strategy.parameters)]
    try:
        canonical = orjson.dumps([ask.tenant, policy, request], option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than can be written: no provider will be sent it either
        return None
    return hashlib.sha256(canonical).hexdigest()


class Answers:
    """The response cache, and the calls under way that others wait for."""

    def __init__(self, cache: Cache, *, ttl_s: int) -> None:
        self._cache = cache
        self._ttl_s = ttl_s
        self._flights: dict[str, asyncio.Future[KeptAnswer | None]] = {}
        self._keeping: set[asyncio.Task[Any]] = set()

    async def find(self, key: str) -> KeptAnswer | None:
        packed = await self._cache.get_bytes(key)
        return KeptAnswer.unpack(packed) if packed else None

    async def look_up(self, key: str) -> KeptAnswer | None:
        """
        Return what is kept under *key*, for somebody who wants to say something about it.

        Raises:
            Unavailable: Redis is silent.
        """
        packed = await self._cache.look_up(key)
        return KeptAnswer.unpack(packed) if packed else None

    async def forget(self, key: str) -> bool:
        """Give the answer no more. False: Redis is silent."""
        return await self._cache.delete(key)

    def keep(self, key: str, answer: KeptAnswer) -> None:
        """Store behind the answer's back: keeping never delays it."""
        if len(answer.body) <= LARGEST_BYTES:
            self._spawn(self._cache.set_bytes(key, answer.pack(), ttl_s=self._ttl_s))

    def flight(self, key: str) -> asyncio.Future[KeptAnswer | None] | None:
        """Return the equal call that is under way in this process, if there is one."""
        return self._flights.get(key)

    def take_off(self, key: str) -> asyncio.Future[KeptAnswer | None]:
        """Announce a call; equal ones that come meanwhile wait for its result."""
        future = asyncio.get_running_loop().create_future()
        self._flights[key] = future
        return future

    def land(self, key: str, answer: KeptAnswer | None) -> None:
        """Hand the result to those who wait. None: there is none to share, call yourself."""
        future = self._flights.pop(key, None)
        if future is not None and not future.done():
            future.set_result(answer)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
