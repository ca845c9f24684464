"""
Who answered the turn before, and how much of the talk its provider still holds in its cache.

Kept in Redis under a hash of the talk so far, for as long as providers keep a prompt: about five
minutes. Losing it costs a discount, never correctness.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from common.cache import Cache
from services.router.domain.catalog import Model
from services.router.domain.request import Ask, Conversation, Usage
from services.router.domain.usage import estimated_input_tokens

TTL_S = 300
LEAST_TOKENS = 1024  # providers cache no shorter prompt


class Conversations:
    def __init__(self, cache: Cache, *, ttl_s: float = TTL_S) -> None:
        self._cache = cache
        self._ttl_s = ttl_s
        self._keeping: set[asyncio.Task[bool]] = set()

    async def recall(self, ask: Ask) -> Ask:
        """Return *ask* with the turn before it, if that is worth anything and still known."""
        if ask.model or (before := _turns_before(ask.body)) is None:
            return ask
        if estimated_input_tokens(ask.body) < LEAST_TOKENS:
            return ask
        key = _key(ask.tenant, before)
        kept = await self._cache.get(key) if key else None
        return replace(ask, conversation=_read(kept))

    def keep(self, ask: Ask, said: str, model: Model, usage: Usage) -> None:
        """
        Remember who answered, behind the answer's back.

        Args:
            ask: The request.
            said: The text of the answer: the next request begins with it.
            model: That answered.
            usage: Of the answer; both its sides are in the provider's cache from now on.
        """
        held = usage.input_tokens + usage.output_tokens
        if held < LEAST_TOKENS or not said:
            return
        turns = [*ask.body["messages"], {"role": "assistant", "content": said}]
        if key := _key(ask.tenant, turns):
            kept = {"model": model.name, "cached_tokens": held}
            task = asyncio.create_task(self._cache.set(key, kept, ttl_s=self._ttl_s))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)


def _turns_before(body: Mapping[str, Any]) -> list[Any] | None:
    """Return the talk up to the last answer; None: nobody has answered yet."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return None
    for end in range(len(messages), 0, -1):
        message = messages[end - 1]
        if isinstance(message, Mapping) and message.get("role") == "assistant":
            return messages[:end]
    return None


def _key(tenant: str, turns: list[Any]) -> str | None:
    """
    Hash who said what; None: it is nested deeper than can be written.

    Clients send an answer back with more or fewer fields than it had.
    """
    said = [
        [turn.get("role"), turn.get("content")] if isinstance(turn, Mapping) else None
        for turn in turns
    ]
    try:
        return hashlib.sha256(orjson.dumps([tenant, said])).hexdigest()
    except TypeError:
        return None


def _read(kept: Any) -> Conversation | None:
    if not isinstance(kept, Mapping):
        return None
    model, tokens = kept.get("model"), kept.get("cached_tokens")
    if not isinstance(model, str) or not isinstance(tokens, int) or tokens < 0:
        return None
    return Conversation(model, tokens)
