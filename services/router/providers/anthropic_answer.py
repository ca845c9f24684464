"""Answers of Anthropic's Messages API in OpenAI's words, whole and in pieces. Pure."""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from services.router.domain.provider_failure import ProviderFailure, failure_in_band
from services.router.domain.reply import Naming, Reply
from services.router.domain.request import Usage
from services.router.domain.sse import Event
from services.router.domain.usage import openai_usage_json, sound_usage
from services.router.providers.openai_format import object_of, reply_of

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def read_reply(parsed: Any, naming: Naming) -> Reply:
    """
    Make a Reply of a message.

    Raises:
        ProviderFailure: it is an error, or no message.
    """
    if failure := failure_in_band(parsed):
        raise failure
    blocks = parsed.get("content") if isinstance(parsed, dict) else None
    if not isinstance(blocks, list):
        raise ProviderFailure("garbage", "unintelligible answer", maybe_billed=True)
    usage = _usage(parsed.get("usage"))
    return reply_of(
        {
            "id": parsed.get("id"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": parsed.get("model"),
            "choices": [
                {
                    "index": 0,
                    "message": _message(blocks),
                    "logprobs": None,
                    "finish_reason": finish_reason(parsed.get("stop_reason")),
                }
            ],
            **({"usage": openai_usage_json(usage)} if usage else {}),
        },
        None,
        naming,
    )


def finish_reason(stop_reason: Any) -> str:
    """Translate; a reason that is invented tomorrow is an ordinary end."""
    return _REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


class AnthropicStream:
    """Turns the events of one message into chunks."""

    def __init__(self) -> None:
        self.done = False
        self._frame: dict[str, Any] = {}
        self._read: dict[str, Any] = {}  # usage so far: the parts come in two events
        self._tools: dict[int, int] = {}  # content block: number of the tool call
        self._silent: set[int] = set()  # tool calls whose arguments have not begun

    def chunks(self, event: Event) -> list[tuple[Any, bytes | None]]:
        """
        Return the chunks of one event; none for pings and events invented tomorrow.

        Raises:
            ProviderFailure: it is not JSON, or an error.
        """
        parsed = object_of(event)
        match parsed.get("type"):
            case "message_start":
                return self._started(_object(parsed.get("message")))
            case "content_block_start":
                return self._block_started(
                    parsed.get("index"), _object(parsed.get("content_block"))
                )
            case "content_block_delta":
                return self._delta(parsed.get("index"), _object(parsed.get("delta")))
            case "content_block_stop":
                return self._block_stopped(parsed.get("index"))
            case "message_delta":
                return self._ending(parsed)
            case "message_stop":
                self.done = True
        return []

    def _started(self, message: Mapping[str, Any]) -> list[tuple[Any, bytes | None]]:
        self._frame = {
            "id": message.get("id"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": message.get("model"),
        }
        self._read = dict(_object(message.get("usage")))
        chunk, _ = self._chunk({"role": "assistant", "content": ""})[0]
        if usage := _usage(self._read):  # known already if the stream is cut
            chunk["usage"] = openai_usage_json(usage)
        return [(chunk, None)]

    def _block_started(self, at: Any, block: Mapping[str, Any]) -> list[tuple[Any, bytes | None]]:
        if block.get("type") == "tool_use":
            number = self._tools[at] = len(self._tools)
            self._silent.add(at)
            function = {"name": block.get("name"), "arguments": ""}
            call = {
                "index": number,
                "id": block.get("id"),
                "type": "function",
                "function": function,
            }
            return self._chunk({"tool_calls": [call]})
        if block.get("type") == "text" and block.get("text"):
            return self._chunk({"content": block["text"]})
        return []

    def _delta(self, at: Any, delta: Mapping[str, Any]) -> list[tuple[Any, bytes | None]]:
        match delta.get("type"):
            case "text_delta":
                return self._chunk({"content": delta.get("text") or ""})
            case "thinking_delta":
                return self._chunk({"reasoning_content": delta.get("thinking") or ""})
            case "input_json_delta" if at in self._tools and delta.get("partial_json"):
                self._silent.discard(at)
                return self._arguments(at, delta["partial_json"])
        return []

    def _block_stopped(self, at: Any) -> list[tuple[Any, bytes | None]]:
        if at in self._silent:
            self._silent.discard(at)
            return self._arguments(at, "{}")
        return []

    def _ending(self, parsed: Mapping[str, Any]) -> list[tuple[Any, bytes | None]]:
        told = _object(parsed.get("usage"))
        self._read.update({k: v for k, v in told.items() if v is not None})
        reason = _object(parsed.get("delta")).get("stop_reason")
        chunk, _ = self._chunk({}, finish_reason(reason) if reason else None)[0]
        if usage := _usage(self._read):
            chunk["usage"] = openai_usage_json(usage)
        return [(chunk, None)]

    def _arguments(self, at: int, text: str) -> list[tuple[Any, bytes | None]]:
        call = {"index": self._tools[at], "function": {"arguments": text}}
        return self._chunk({"tool_calls": [call]})

    def _chunk(
        self, delta: dict[str, Any], reason: str | None = None
    ) -> list[tuple[Any, bytes | None]]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return [({**self._frame, "choices": [choice]}, None)]


def _message(blocks: list[Any]) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        match _object(block).get("type"):
            case "text" if isinstance(block.get("text"), str):
                texts.append(block["text"])
            case "thinking" if isinstance(block.get("thinking"), str):
                thoughts.append(block["thinking"])
            case "tool_use":
                arguments = orjson.dumps(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    return message


def _usage(told: Any) -> Usage | None:
    """Read a usage; what was written to or read from the prompt cache is input there too."""
    found = _object(told)
    fresh = found.get("input_tokens")
    written = found.get("cache_creation_input_tokens") or 0
    hit = found.get("cache_read_input_tokens") or 0
    parts = (fresh, written, hit)
    if not all(isinstance(p, int) and not isinstance(p, bool) and p >= 0 for p in parts):
        return None
    return sound_usage(sum(p for p in parts if p), found.get("output_tokens"), hit)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
