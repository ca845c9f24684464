"""The sandbox's routes, as a bare ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog

from common.ids import new_id
from common.origins import is_foreign_page, is_loopback, is_loopback_host
from sandbox.bill import Bill
from sandbox.chat import Chat
from sandbox.embeddings import embeddings_answer
from sandbox.faults import Fault, Faults, fault_from
from sandbox.http import Exchange, Message
from sandbox.models import MODELS
from sandbox.refusal import Refusal, bad
from sandbox.request import json_object
from sandbox.settings import SandboxSettings

log = structlog.get_logger()

_MOST_ENTRIES_A_PAGE = 10_000
_BORN = 1_767_225_600  # every model's `created`: 2026-01-01, a constant so that listings are equal


class SandboxApp:
    def __init__(self, settings: SandboxSettings) -> None:
        self.bill = Bill(settings.bill_entries)
        self.faults = Faults()
        self._scale = settings.latency_scale
        self._is_local = is_loopback(settings.listen.rpartition(":")[0].strip("[]"))
        self._routes: dict[tuple[str, str], Callable[[Exchange], Awaitable[None]]] = {
            ("POST", "/v1/chat/completions"): Chat(settings, self.bill, self.faults).serve,
            ("POST", "/v1/embeddings"): self._embed,
            ("GET", "/v1/models"): self._list_models,
            ("GET", "/bill"): self._show_bill,
            ("DELETE", "/bill"): self._clear_bill,
            ("GET", "/faults"): self._show_faults,
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("GET", "/livez"): self._live,
        }

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        exchange = Exchange(scope, receive, send)
        route = self._routes.get((exchange.method, exchange.path))
        try:
            if self._is_local:
                _check_local(exchange)
            if route is None:
                raise Refusal(  # noqa: TRY301  # one place answers every refusal
                    404, f"Unknown route: {exchange.method} {exchange.path[:200]}"
                )
            await route(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Exception:
            log.exception("internal error", method=exchange.method)
            raise

    async def _embed(self, exchange: Exchange) -> None:
        answer, model, tokens = embeddings_answer(json_object(await exchange.body()))
        await asyncio.sleep(model.first_token_s * self._scale)
        entry = self.bill.add(
            response_id=f"embd-sandbox-{new_id().hex}",
            client_request_id=exchange.header(b"x-client-request-id"),
            model=model.name,
            tokens=(tokens, 0, 0),
            cost_nano_usd=model.cost_nano_usd(tokens, 0, 0),
            streamed=False,
        )
        await exchange.answer_json(answer)
        entry.delivered = not exchange.gone

    async def _list_models(self, exchange: Exchange) -> None:
        models = [
            {
                "id": model.name,
                "object": "model",
                "created": _BORN,
                "owned_by": "sandbox",
                "context_window": model.context_tokens,
                "sandbox": True,
            }
            for model in MODELS.values()
        ]
        await exchange.answer_json({"object": "list", "data": models})

    async def _show_bill(self, exchange: Exchange) -> None:
        query = _query(exchange)
        after = _whole_number(query, "after", 0)
        limit = min(_whole_number(query, "limit", 1_000), _MOST_ENTRIES_A_PAGE)
        entries, more = self.bill.page(after, limit)
        if "ndjson" in (exchange.header(b"accept") or ""):
            lines = b"".join(orjson.dumps(entry) + b"\n" for entry in entries)
            await exchange.answer(lines, kind=b"application/x-ndjson")
            return
        await exchange.answer_json(
            {
                "sandbox": True,
                "entries": entries,
                "next": entries[-1].seq if entries else after,
                "more": more,
                "in_flight": self.bill.in_flight,
                "dropped": self.bill.dropped,
                "total_nano_usd": self.bill.total_nano_usd,
            }
        )

    async def _clear_bill(self, exchange: Exchange) -> None:
        await exchange.answer_json({"cleared": self.bill.clear()})

    async def _show_faults(self, exchange: Exchange) -> None:
        await exchange.answer_json({"rules": [_listed(rule) for rule in self.faults.listed()]})

    async def _add_fault(self, exchange: Exchange) -> None:
        directive = json_object(await exchange.body()).get("fault")
        if not isinstance(directive, str):
            raise bad("fault", "expected a directive such as 'status=503,models=tiny,times=2'")
        rule = fault_from(directive)
        self.faults.add(rule)
        await exchange.answer_json(_listed(rule))

    async def _clear_faults(self, exchange: Exchange) -> None:
        self.faults.clear()
        await exchange.answer_json({"rules": []})

    async def _live(self, exchange: Exchange) -> None:
        await exchange.answer_json({"status": "ok", "sandbox": True})


def _check_local(exchange: Exchange) -> None:
    """
    Refuse web pages: they must not spend, nor set faults, in what looks like their own network.

    Raises:
        Refusal: a page, or another machine's name for us, is at work.
    """
    hosts = exchange.all_of(b"host")
    if len(hosts) != 1 or not is_loopback_host(hosts[0]):
        raise Refusal(
            403, "The sandbox answers to localhost, 127.0.0.1 and [::1] only", code="foreign_host"
        )
    if is_foreign_page(exchange.headers):
        raise Refusal(
            403, "The sandbox does not answer to web pages of others", code="foreign_origin"
        )


def _listed(rule: Fault) -> dict[str, Any]:
    return {**asdict(rule), "models": sorted(rule.models)}


def _query(exchange: Exchange) -> dict[str, str]:
    return dict(parse_qsl(exchange.query.decode("latin-1")))


def _whole_number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 18):  # noqa: PLR2004  # fits 63 bits
        raise bad(name, "expected a whole number")
    return int(text)
