"""An answer as server-sent events, one token an event; each is its own write, even at no delay."""

from typing import Any

import orjson

from sandbox.bill import Bill
from sandbox.call import FINGERPRINT, Call
from sandbox.faults import BREAKS

_GARBAGE = b'data: {"id": "chatcmpl-sandbox", "choices": [{"delta": {"cont\n\n'


async def send_stream(call: Call, bill: Bill) -> None:
    """Stream the answer. What was generated when the client left is on the bill, no more."""
    exchange = call.exchange
    try:
        await exchange.pause(call.first_token_s)
        if call.fault_kind != "cut_after" or (call.fault and call.fault.after):
            await exchange.start_stream()
        await _send_pieces(call)
    finally:
        call.charge(bill)  # before the last event leaves: who has read it finds it on the bill
    if exchange.gone:
        return
    if call.fault_kind in BREAKS:
        await _break_off(call)
    elif call.fault_kind == "heartbeats":
        await exchange.beat_until_gone(b": keep-alive\n\n")
    else:
        await exchange.push(_ending(call))
        call.deliver()
        await exchange.finish()


async def _send_pieces(call: Call) -> None:
    exchange, reply = call.exchange, call.reply
    if call.fault_kind in ("empty_choices", "heartbeats"):
        return
    before, after = _around_a_piece(call)
    await _send_opening(call)
    for index, piece in enumerate(reply.pieces):
        if call.fault and call.fault.after == index:
            if call.fault.kind in BREAKS:
                return
            if call.fault.kind == "garbage_after":
                await exchange.push(_GARBAGE)
        await exchange.pause(call.token_s)
        if exchange.gone:
            return
        call.generated += 1
        await exchange.push(before + orjson.dumps(piece) + after)


async def _send_opening(call: Call) -> None:
    if call.fault and call.fault.kind in BREAKS and call.fault.after == 0:
        return
    delta: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    if call.reply.tool is not None:
        function = {"name": call.reply.tool, "arguments": ""}
        called = {"index": 0, "id": call.tool_call_id, "type": "function", "function": function}
        delta = {"role": "assistant", "content": None, "tool_calls": [called]}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    await call.exchange.push(_event({**_envelope(call), "choices": [choice]}))


def _around_a_piece(call: Call) -> tuple[bytes, bytes]:
    """Return what stands before and after the piece in its event: written once for all of them."""
    head = b"data: " + orjson.dumps(_envelope(call))[:-1] + b',"choices":[{"index":0,"delta":{'
    tail = b'},"logprobs":null,"finish_reason":null}]}\n\n'
    if call.reply.tool is None:
        return head + b'"content":', tail
    return head + b'"tool_calls":[{"index":0,"function":{"arguments":', b"}}]" + tail


def _ending(call: Call) -> bytes:
    choice = {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": call.reply.finish_reason,
    }
    choices = [] if call.fault_kind == "empty_choices" else [choice]
    events = _event({**_envelope(call), "choices": choices, "sandbox": call.truth})
    if call.request.include_usage and call.fault_kind != "no_usage":
        events += _event({**_envelope(call), "choices": [], "usage": call.usage})
    return events if call.fault_kind == "no_done" else events + b"data: [DONE]\n\n"


async def _break_off(call: Call) -> None:
    if call.fault_kind == "cut_after":
        await call.exchange.reset()
    elif call.fault_kind == "end_after":
        await call.exchange.finish()
    else:
        await call.exchange.wait_until_gone()


def _envelope(call: Call) -> dict[str, Any]:
    return {
        "id": call.response_id,
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": call.model,
        "system_fingerprint": FINGERPRINT,
    }


def _event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
