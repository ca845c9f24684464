"""An answer in one piece. It is generated whole and billed whole, whoever is left to read it."""

from typing import Any

import orjson

from sandbox.bill import Bill
from sandbox.call import FINGERPRINT, Call
from sandbox.faults import BREAKS


async def send_plain(call: Call, bill: Bill) -> None:
    call.generated = len(call.reply.pieces)
    try:
        await call.exchange.pause(call.first_token_s + call.token_s * call.generated)
    finally:
        call.charge(bill)
    body = orjson.dumps(completion(call))
    exchange = call.exchange
    if call.fault_kind in BREAKS:
        await _send_partly(call, body)
    elif call.fault_kind == "heartbeats":
        await exchange.start_stream(b"application/json")
        await exchange.beat_until_gone(b"\n")
    elif call.fault_kind == "garbage_after":
        await exchange.answer(body[: len(body) // 2] + b"\xff}{")
    else:
        await exchange.answer(body)
        call.deliver()


async def _send_partly(call: Call, body: bytes) -> None:
    exchange = call.exchange
    if call.fault and call.fault.after:
        await exchange.answer_partly(body, len(body) // 2)
    if call.fault_kind == "cut_after":
        await exchange.reset()
    elif call.fault_kind == "end_after":
        exchange.hang_up()
    else:
        await exchange.wait_until_gone()


def completion(call: Call) -> dict[str, Any]:
    """Return the `chat.completion` object."""
    reply = call.reply
    text = "".join(reply.pieces)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if reply.tool is not None:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call.tool_call_id,
                "type": "function",
                "function": {"name": reply.tool, "arguments": text},
            }
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": reply.finish_reason,
    }
    answer = {
        "id": call.response_id,
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": [] if call.fault_kind == "empty_choices" else [choice],
        "usage": call.usage,
        "system_fingerprint": FINGERPRINT,
        "sandbox": call.truth,
    }
    if call.fault_kind == "no_usage":
        del answer["usage"]
    return answer
