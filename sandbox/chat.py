"""Serving chat completions: answer, or fail as asked."""

import time
import zlib
from functools import cache
from typing import NoReturn

from common.ids import new_id
from sandbox.answers import Reply, reply_to
from sandbox.bill import Bill
from sandbox.call import Call
from sandbox.faults import INSTEAD, Fault, Faults
from sandbox.http import Exchange
from sandbox.plain import send_plain
from sandbox.refusal import Refusal, bad, too_long
from sandbox.request import ChatRequest, chat_request
from sandbox.settings import SandboxSettings
from sandbox.streaming import send_stream

_TOO_MANY = 429
_DEFAULT_RETRY_AFTER_S = 1
_BOMB_MEGABYTES = 96  # unpacked
_GZIP = 31  # zlib's word for it
_OF_STATUS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    _TOO_MANY: ("requests", "rate_limit_exceeded"),
}


class Chat:
    def __init__(self, settings: SandboxSettings, bill: Bill, faults: Faults) -> None:
        self._scale = settings.latency_scale
        self._seed = settings.seed
        self._bill = bill
        self._faults = faults

    async def serve(self, exchange: Exchange) -> None:
        """
        Serve one chat completion.

        Raises:
            Refusal: the request is wrong, or a fault says so.
        """
        request = chat_request(await exchange.body())
        fault = self._faults.find(request.model.name, request.messages)
        _check_prefill(request, fault)
        reply = _as_faulty(reply_to(request, seed=self._seed), fault)
        call = Call(
            exchange,
            request,
            reply,
            fault,
            self._scale,
            response_id=f"chatcmpl-sandbox-{new_id().hex}",
            created=int(time.time()),
        )
        self._bill.in_flight += 1
        try:
            if fault is not None and fault.kind in INSTEAD:
                await self._fail(call, fault)
            elif request.streamed:
                await send_stream(call, self._bill)
            else:
                await send_plain(call, self._bill)
        finally:
            self._bill.in_flight -= 1

    async def _fail(self, call: Call, fault: Fault) -> None:
        """Answer a fault that stands in place of an answer."""
        exchange = call.exchange
        if fault.billed or fault.kind == "error_after_billing":
            call.generated = len(call.reply.pieces)
            call.charge(self._bill)
        if fault.kind == "hang":
            await exchange.wait_until_gone()
        elif fault.kind == "html":
            page = b"<!doctype html><title>sandbox</title><h1>Welcome to the proxy</h1>"
            await exchange.answer(page, kind=b"text/html")
        elif fault.kind == "empty_body":
            await exchange.answer(b"")
        elif fault.kind == "redirect":
            headers = [(b"location", b"/v1/elsewhere/chat/completions")]
            await exchange.answer(b"", status=307, headers=headers)
        elif fault.kind == "gzip_bomb":
            kind = b"text/event-stream" if call.request.streamed else b"application/json"
            headers = [(b"content-encoding", b"gzip")]
            await exchange.answer(_bomb(), kind=kind, headers=headers)
        else:
            _refuse(fault, call.request)


def _as_faulty(reply: Reply, fault: Fault | None) -> Reply:
    """Take the words from a reply whose fault is to say nothing."""
    if fault is None or fault.kind not in ("empty_choices", "white_space", "heartbeats"):
        return reply
    pieces = [" \n"] if fault.kind == "white_space" else []
    return Reply(
        pieces,
        finish_reason="stop",
        tool=None,
        correct=False,
        difficulty=reply.difficulty,
        draw=reply.draw,
    )


def _check_prefill(request: ChatRequest, fault: Fault | None) -> None:
    if fault is not None and fault.kind == "refuses_prefill":
        last = len(request.messages) - 1
        if request.messages[last]["role"] == "assistant":
            raise bad(f"messages[{last}]", "this model does not go on from an answer begun")


@cache
def _bomb() -> bytes:
    packer, blanks = zlib.compressobj(1, wbits=_GZIP), b" " * (1024 * 1024)
    packed = [packer.compress(blanks) for _ in range(_BOMB_MEGABYTES)]
    return b"".join(packed) + packer.flush()


def _refuse(fault: Fault, request: ChatRequest) -> NoReturn:
    if fault.kind == "context_length":
        raise too_long(request.input_tokens, request.input_tokens - 1)
    if fault.kind == "content_policy":
        raise Refusal(
            400,
            "Your request was rejected by the sandbox's safety system",
            code="content_policy_violation",
        )
    if fault.kind == "insufficient_quota":
        raise Refusal(
            _TOO_MANY,
            "You exceeded your current quota, please check your plan and billing details",
            kind="insufficient_quota",
            code="insufficient_quota",
        )
    status = {"unauthorized": 401, "error_after_billing": 500}.get(fault.kind, int(fault.number))
    kind, code = _OF_STATUS.get(status, ("server_error", None))
    wait_s = fault.retry_after_s
    if wait_s is None and status == _TOO_MANY:
        wait_s = _DEFAULT_RETRY_AFTER_S
    raise Refusal(
        status,
        f"The sandbox fails as asked: {status}",
        kind=kind,
        code=code,
        headers=() if wait_s is None else ((b"retry-after", b"%g" % wait_s),),
    )
