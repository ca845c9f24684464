"""The OpenAI wire, which is also ours: nearly everything passes through untouched. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from common.errors import Invalid
from services.router.domain.provider_failure import ProviderFailure, failure_in_band
from services.router.domain.reply import Naming, Reply
from services.router.domain.sse import Event
from services.router.domain.usage import openai_usage


def request_body(
    body: Mapping[str, Any], upstream: str, *, streamed: bool, renames_max_tokens: bool = False
) -> dict[str, Any]:
    """
    Address the client's request to *upstream*. Usage is always asked for.

    Args:
        body: The client's request; unknown fields pass through.
        upstream: What the provider calls the model.
        streamed: Whether the answer is to be a stream.
        renames_max_tokens: OpenAI itself takes `max_completion_tokens` for every model and refuses
            `max_tokens` for the reasoning ones; compatible providers know only the latter.
    """
    sent = {**body, "model": upstream}
    if streamed:
        options = body.get("stream_options")
        sent["stream"] = True
        sent["stream_options"] = {
            **(options if isinstance(options, dict) else {}),
            "include_usage": True,
        }
    else:
        sent.pop("stream", None)
        sent.pop("stream_options", None)
    if renames_max_tokens and "max_tokens" in sent:
        limit = sent.pop("max_tokens")
        sent.setdefault("max_completion_tokens", limit)
    return sent


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Return whether the client asked for the usage chunk."""
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def encoded(body: Mapping[str, Any]) -> bytes:
    """
    Write a request for a provider.

    Raises:
        Invalid: it is nested deeper than we can write.
    """
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise Invalid("the request is nested too deeply") from error


def decoded(data: bytes) -> Any:
    """Parse JSON; None if it is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def object_of(event: Event) -> dict[str, Any]:
    """
    Read one event of a stream.

    Raises:
        ProviderFailure: it is no JSON object, or an error.
    """
    parsed = decoded(event.data)
    if failure := failure_in_band(parsed):
        raise failure
    if not isinstance(parsed, dict):
        raise ProviderFailure("garbage", "unintelligible stream", maybe_billed=True)
    return parsed


def reply_of(parsed: Any, raw: bytes | None, naming: Naming) -> Reply:
    """
    Make a Reply of a chat.completion.

    Args:
        parsed: The completion. It may be changed in place.
        raw: The bytes it was parsed from, if it came as such.
        naming: Whose names its `model` may hold.

    Raises:
        ProviderFailure: it is an error, or no answer.
    """
    if failure := failure_in_band(parsed):
        raise failure
    if not isinstance(parsed, dict):
        raise ProviderFailure("garbage", "unintelligible answer", maybe_billed=True)
    word = parsed.get("model")
    answered = naming.answered(word if isinstance(word, str) else "")
    usage = openai_usage(parsed.get("usage"), context_tokens=answered.context_tokens)
    identifier = parsed.get("id")
    response_id = identifier if isinstance(identifier, str) else ""
    choices: Any = parsed.get("choices")
    well_formed = isinstance(choices, list) and all(_is_answer(c) for c in choices)
    if not well_formed or not any(_says_something(c) for c in choices):
        raise ProviderFailure(
            "garbage",
            "empty answer" if well_formed else "unintelligible answer",
            maybe_billed=True,
            usage=usage,
            response_id=response_id,
        )
    if parsed.get("usage") is not None and usage is None:  # absurd: nobody is to read it
        del parsed["usage"]
        raw = None
    if raw is None or word != answered.name:
        parsed["model"] = answered.name
        raw = _written(parsed, usage_known=usage is not None)
    reason = choices[0].get("finish_reason")
    return Reply(
        body=raw,
        answered=answered,
        usage=usage,
        response_id=response_id,
        finish_reason=reason if isinstance(reason, str) else "",
        written_bytes=sum(_written_bytes(c["message"]) for c in choices),
    )


class OpenAiStream:
    """Reads events as chunks: they are in our shape already."""

    def __init__(self) -> None:
        self.done = False

    def chunks(self, event: Event) -> list[tuple[Any, bytes | None]]:
        """
        Return the chunks of one event, each with its bytes.

        Raises:
            ProviderFailure: it is not JSON.
        """
        if event.data.strip() == b"[DONE]":
            self.done = True
            return []
        if not event.data.strip():
            return []
        try:
            return [(orjson.loads(event.data), event.data)]
        except orjson.JSONDecodeError as error:
            raise ProviderFailure("garbage", "unintelligible stream", maybe_billed=True) from error


def _is_answer(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)


def _says_something(choice: Any) -> bool:
    """Return whether a choice is more than blanks; one that was cut short or filtered may be."""
    if choice.get("finish_reason") not in (None, "stop"):
        return True
    said = (v for k, v in choice["message"].items() if k != "role" and v)
    return any(not (isinstance(v, str) and v.isspace()) for v in said)


def _written(parsed: dict[str, Any], *, usage_known: bool) -> bytes:
    try:
        return orjson.dumps(parsed)
    except TypeError as error:
        raise ProviderFailure(
            "garbage", "unintelligible answer", maybe_billed=not usage_known
        ) from error


def _written_bytes(message: Mapping[str, Any]) -> int:
    size = 0
    for key, value in message.items():
        if key == "role" or not value:
            continue
        size += len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0
        if key == "tool_calls":
            size += len(orjson.dumps(value))
    return size
