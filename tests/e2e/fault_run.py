"""Asks what the cases say, all at once, and keeps what the client saw."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from tests.e2e.books import OPENED, SETTLED, Books
from tests.e2e.fault_cases import AS_SHIPPED, CASES, WORDS, Case
from tests.e2e.stack import StackUnderTest

MODELS = {  # as the sandbox bills them, and the context that the catalog claims
    "tiny": ("{input: 0.05, cached_input: 0.005, output: 0.20}", 8_192),
    "small": ("{input: 0.15, cached_input: 0.015, output: 0.60}", 32_768),
    "medium": ("{input: 0.80, cached_input: 0.08, output: 3.20}", 131_072),
    "large": ("{input: 2.50, cached_input: 0.25, output: 10}", 200_000),
}
PROMPT = "Prove the theorem of the tides: derive its integral, then its asymptotic complexity."
OUTAGE = "15-outage"
CONTEXT_CASE = "12-context-length"
ONE_SIZE = 8_192  # there, the first fallback is no larger than what was too small


@dataclass(slots=True)
class Seen:
    """What a client saw of one request."""

    status: int = 0
    request_id: UUID | None = None
    text: str = ""
    model: str = ""  # the last that was reported
    finishes: list[str] = field(default_factory=list)
    usage: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    done: bool = False
    took_s: float = 0
    raw: bytes = b""


def slug(name: str, *, streamed: bool) -> str:
    """Return the name of a case's first provider; its spare one is called so with `-spare`."""
    return f"{name}-{'stream' if streamed else 'plain'}"


def catalog() -> str:
    """Write the catalog: two providers for each case and mode, the first with a spare behind."""
    entries = [(slug(c.name, streamed=s), c.timeouts, c.name) for c in CASES for s in (False, True)]
    entries += [(slug(OUTAGE, streamed=s), AS_SHIPPED, OUTAGE) for s in (False, True)]
    providers, models = [], []
    for name, timeouts, case in entries:
        providers += [_provider(name, timeouts), _provider(f"{name}-spare", timeouts)]
        small = ONE_SIZE if case == CONTEXT_CASE else None
        models += [
            _model(name, "tiny", fallbacks=f"{name}-spare/small, {name}-spare/large"),
            _model(name, "medium"),
            _model(f"{name}-spare", "small", context_tokens=small),
            _model(f"{name}-spare", "large"),
        ]
    return "\n".join(["providers:", *providers, "models:", *models, ""])


def _provider(name: str, timeouts: str) -> str:
    return (
        f"  - {{name: {name}, wire: openai, base_url: '${{SANDBOX_URL}}', sandbox: true,"
        f" timeouts_s: {timeouts}}}"
    )


def _model(
    provider: str, upstream: str, *, fallbacks: str = "", context_tokens: int | None = None
) -> str:
    price, context = MODELS[upstream]
    return (
        f"  - {{name: {provider}/{upstream}, provider: {provider}, upstream: {upstream},"
        f" tier: simple, capability: 0.5, context_tokens: {context_tokens or context},"
        f" capabilities: [streaming, json_schema], price_usd_per_million: {price},"
        f" fallbacks: [{fallbacks}]}}"
    )


async def see_all(stack: StackUnderTest) -> dict[tuple[str, bool], Seen]:
    """Ask all cases at once, plain and streamed."""
    wanted = [(case, streamed) for case in CASES for streamed in (False, True)]
    seen = await asyncio.gather(*(see(stack, case, streamed=s) for case, s in wanted))
    return {(case.name, s): one for (case, s), one in zip(wanted, seen, strict=True)}


async def see(stack: StackUnderTest, case: Case, *, streamed: bool) -> Seen:
    name = slug(case.name, streamed=streamed)
    faults = "".join(
        f"[[fault:{fault}{'' if 'models=' in fault else f',models={case.asked}'},id={name}]]"
        for fault in case.faults
    )
    messages = [{"role": "user", "content": f"{PROMPT} {faults}"}]
    if case.prefill:
        messages.append({"role": "assistant", "content": "It is well known that"})
    body: dict[str, Any] = {"max_tokens": 60, "messages": messages}
    if case.same_words:
        schema = {"name": "words", "schema": {"type": "string", "const": WORDS}}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return await ask(stack, f"{name}/{case.asked}", streamed=streamed, **body)


async def ask(stack: StackUnderTest, model: str, *, streamed: bool, **body: Any) -> Seen:
    """Ask *model* and return what came of it, as far as it came."""
    body["model"] = model
    if streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    began = time.monotonic()
    url = f"{stack.base_url}/v1/chat/completions"
    async with stack.session.post(url, json=body, headers=stack.headers) as answer:
        seen = Seen(answer.status, UUID(answer.headers["x-request-id"]))
        seen.raw = await answer.read()
    seen.took_s = time.monotonic() - began
    if answer.content_type == "text/event-stream":
        for event in seen.raw.split(b"\n\n"):
            if event.startswith(b"data: "):
                _hear(seen, event.removeprefix(b"data: "))
    else:
        _read(seen, orjson.loads(seen.raw))
    return seen


def _hear(seen: Seen, data: bytes) -> None:
    assert not seen.done, "something came after [DONE]"
    if data == b"[DONE]":
        seen.done = True
        return
    chunk = orjson.loads(data)
    seen.error = chunk.get("error") or seen.error
    seen.usage = chunk.get("usage") or seen.usage
    seen.model = chunk.get("model") or seen.model
    for choice in chunk.get("choices", ()):
        seen.text += choice["delta"].get("content") or ""
        if choice["finish_reason"]:
            seen.finishes.append(choice["finish_reason"])


def _read(seen: Seen, body: Mapping[str, Any]) -> None:
    seen.error, seen.usage, seen.model = body.get("error"), body.get("usage"), body.get("model", "")
    for choice in body.get("choices", ()):
        seen.text += choice["message"]["content"]
        seen.finishes.append(choice["finish_reason"])


def books_of(books: Books, request_id: UUID | None) -> Books:
    """Return what the books say of one request."""
    rows = [row for row in books.rows if row["request_id"] == request_id]
    ours = {str(row["attempt_id"]) for row in rows}
    return Books(rows, [entry for entry in books.bill if entry["client_request_id"] in ours])


def attempts_of(books: Books) -> list[tuple[str, str]]:
    """Return (model as its provider calls it, outcome) of each attempt, in the order of asking."""
    asked = sorted(row["attempt_id"] for row in books.rows if row["kind"] == OPENED)
    settled = {row["attempt_id"]: row for row in books.rows if row["kind"] == SETTLED}
    return [(settled[one]["model"].rpartition("/")[2], settled[one]["outcome"]) for one in asked]
