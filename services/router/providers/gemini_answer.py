"""Answers of Gemini's generateContent in OpenAI's words, whole and in pieces. Pure."""

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

_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_BROKEN = frozenset(  # the model stumbled over its own tools: no answer
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"}
)


def read_reply(parsed: Any, naming: Naming) -> Reply:
    """
    Make a Reply of a GenerateContentResponse.

    Raises:
        ProviderFailure: it is an error, or no answer.
    """
    if failure := failure_in_band(parsed):
        raise failure
    if not isinstance(parsed, dict):
        raise ProviderFailure("garbage", "unintelligible answer", maybe_billed=True)
    usage = _usage(parsed.get("usageMetadata"))
    writer = _Writer()
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": "", **delta},
            "logprobs": None,
            "finish_reason": reason or "stop",
        }
        for at, delta, reason in writer.deltas(parsed, numbered=False)
    ]
    return reply_of(
        {
            **_frame(parsed, "chat.completion"),
            "choices": choices,
            **({"usage": openai_usage_json(usage)} if usage else {}),
        },
        None,
        naming,
    )


class GeminiStream:
    """Turns the pieces of one answer into chunks. There is no last word: the connection ends."""

    def __init__(self) -> None:
        self.done = False
        self._writer = _Writer()

    def chunks(self, event: Event) -> list[tuple[Any, bytes | None]]:
        """
        Return the chunks of one piece.

        Raises:
            ProviderFailure: it is not JSON, or an error.
        """
        parsed = object_of(event)
        chunk: dict[str, Any] = {
            **_frame(parsed, "chat.completion.chunk"),
            "choices": [
                {"index": at, "delta": delta, "logprobs": None, "finish_reason": reason}
                for at, delta, reason in self._writer.deltas(parsed, numbered=True)
            ],
        }
        if usage := _usage(parsed.get("usageMetadata")):
            chunk["usage"] = openai_usage_json(usage)
        return [(chunk, None)]


class _Writer:
    """Turns candidates into deltas, and remembers the tool calls of each."""

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}

    def deltas(
        self, parsed: Mapping[str, Any], *, numbered: bool
    ) -> list[tuple[int, dict[str, Any], str | None]]:
        """Return (index, delta, finish_reason) of each candidate; streams number tool calls."""
        candidates = parsed.get("candidates")
        if not candidates and _object(parsed.get("promptFeedback")).get("blockReason"):
            return [(0, {"content": ""}, "content_filter")]
        if not isinstance(candidates, list):
            return []
        made = []
        for candidate in candidates:
            found = _object(candidate)
            given = found.get("index")
            at = given if isinstance(given, int) else 0
            delta = self._delta(at, parsed, found, numbered=numbered)
            made.append((at, delta, self._reason(at, parsed, found.get("finishReason"))))
        return made

    def _delta(
        self, at: int, parsed: Mapping[str, Any], candidate: Mapping[str, Any], *, numbered: bool
    ) -> dict[str, Any]:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        parts = _object(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else []:
            found = _object(part)
            text = found.get("text")
            if isinstance(call := found.get("functionCall"), dict):
                calls.append(self._call(at, parsed, found, call, numbered=numbered))
            elif isinstance(text, str):
                (thoughts if found.get("thought") else texts).append(text)
        delta: dict[str, Any] = {}
        if texts:
            delta["content"] = "".join(texts)
        if thoughts:
            delta["reasoning_content"] = "".join(thoughts)
        if calls:
            delta["tool_calls"] = calls
        return delta

    def _call(
        self,
        at: int,
        parsed: Mapping[str, Any],
        part: Mapping[str, Any],
        call: Mapping[str, Any],
        *,
        numbered: bool,
    ) -> dict[str, Any]:
        number = self._calls.get(at, 0)
        self._calls[at] = number + 1
        made = {
            "id": call.get("id") or f"call_{parsed.get('responseId') or 'gemini'}_{at}_{number}",
            "type": "function",
            "function": {
                "name": call.get("name"),
                "arguments": orjson.dumps(call.get("args") or {}).decode(),
            },
        }
        if signature := part.get("thoughtSignature"):
            made["extra_content"] = {"google": {"thought_signature": signature}}
        return {"index": number, **made} if numbered else made

    def _reason(self, at: int, parsed: Mapping[str, Any], told: Any) -> str | None:
        if not told:
            return None
        if told in _BROKEN:
            raise ProviderFailure(
                "garbage",
                "malformed tool call",
                maybe_billed=True,
                usage=_usage(parsed.get("usageMetadata")),
                response_id=str(parsed.get("responseId") or ""),
            )
        if told in _FILTERED:
            return "content_filter"
        if told == "MAX_TOKENS":
            return "length"
        return "tool_calls" if self._calls.get(at) else "stop"


def _frame(parsed: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": parsed.get("responseId"),
        "object": kind,
        "created": int(time.time()),
        "model": parsed.get("modelVersion"),
    }


def _usage(told: Any) -> Usage | None:
    """Read a usage: thoughts are written tokens there too, and tools' prompts are read ones."""
    found = _object(told)
    if not found:
        return None
    read = _sum(found.get("promptTokenCount"), found.get("toolUsePromptTokenCount"))
    written = _sum(found.get("candidatesTokenCount") or 0, found.get("thoughtsTokenCount"))
    return sound_usage(read, written, found.get("cachedContentTokenCount") or 0)


def _sum(first: Any, second: Any) -> Any:
    """Add what are numbers; what is none spoils the sum, and `sound_usage` refuses it."""
    if second is None:
        return first
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in (first, second))
    return first + second if whole else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
