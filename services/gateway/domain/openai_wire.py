"""The OpenAI wire format: what routing must know of a chat request, the error shape, SSE frames."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import Invalid, NotFound

AUTO = "auto"
MAX_USER_CHARACTERS = 100
MAX_MODEL_CHARACTERS = 200

HEARTBEAT = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the edge reads of a chat request; everything else is passed on as it came."""

    model: str
    stream: bool
    user: str  # empty: none; of any length, as the providers take it


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    model: str
    user: str  # empty: none


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Either a pinned "provider/model", or a strategy ("" is the default one)."""

    pinned: str
    strategy: str


def read_chat(body: Mapping[str, Any]) -> ChatRequest:
    """
    Read a chat request, and check the fields that every provider agrees on.

    Raises:
        Invalid: a field is missing or wrong; `param` names it.
    """
    model = _model(body)
    _check_messages(body.get("messages"))
    _check_fields(body)
    stream = bool(body.get("stream"))
    if body.get("stream_options") is not None and not stream:
        raise _wrong("stream_options", "is only allowed when stream is true")
    return ChatRequest(model, stream, body.get("user") or "")


def read_embedding(body: Mapping[str, Any]) -> EmbeddingRequest:
    """
    Read an embeddings request.

    Raises:
        Invalid: a field is missing or wrong; `param` names it.
    """
    wanted = body.get("input")
    if not isinstance(wanted, str | list) or not wanted:
        raise _wrong("input", "must be text or a list, and not empty")
    _check_fields(body)
    return EmbeddingRequest(_model(body), body.get("user") or "")


def choose_model(model: str) -> ModelChoice:
    """
    Tell a pinned model from a request to route.

    Raises:
        NotFound: "auto:" without a strategy.
    """
    if model == AUTO:
        return ModelChoice("", "")
    prefix, colon, strategy = model.partition(":")
    if prefix != AUTO or not colon:
        return ModelChoice(model, "")
    if not strategy:
        raise unknown_model(model)
    return ModelChoice("", strategy)


def unknown_model(model: str) -> NotFound:
    return NotFound(
        f"The model `{model}` does not exist; GET /v1/models lists what there is.",
        code="model_not_found",
        param="model",
    )


def error_body(message: str, *, status: int, param: str | None, code: str) -> dict[str, Any]:
    """Build an error as the OpenAI API gives it, with all four keys."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")  # noqa: PLR2004 - HTTP
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def text_of(completion: Mapping[str, Any]) -> str:
    """Return the text of the first choice; an answer without text (a tool) has none."""
    choices = completion.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return text_of_content(message.get("content") or message.get("refusal"))


def text_of_content(content: Any) -> str:
    """Return the text of a message's content, be it one text, parts, or none."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def frames(chunks: Iterable[bytes]) -> bytes:
    """Frame chunks as server-sent events, in one piece so that they leave in one write."""
    return b"".join([b"data: %b\n\n" % chunk for chunk in chunks])


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_MODEL_CHARACTERS:
        raise _wrong("model", 'must be "auto", "auto:<strategy>" or a "provider/model" as text')
    return model


def _check_fields(body: Mapping[str, Any]) -> None:
    for name in body.keys() & _CHECKS.keys():
        value = body[name]
        expected, holds = _CHECKS[name]
        if value is not None and not holds(value):
            raise _wrong(name, f"must be {expected}")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "must be a list with at least one message")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"messages[{index}]", "must be an object with role and content")
        if not isinstance(message.get("role"), str):
            raise _wrong(f"messages[{index}].role", "must be text, such as user")
        if not isinstance(message.get("content"), str | list | None):
            raise _wrong(f"messages[{index}].content", "must be text or a list of parts")


def _wrong(param: str, what: str) -> Invalid:
    return Invalid(f"`{param}` {what}.", code="invalid_value", param=param)


def _number(low: float, high: float) -> tuple[str, Callable[[Any], bool]]:
    def holds(value: Any) -> bool:
        return isinstance(value, int | float) and value is not True and low <= value <= high

    return f"a number from {low} to {high}", holds


def _count(high: int) -> tuple[str, Callable[[Any], bool]]:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and value is not True and 1 <= value <= high

    return f"a whole number from 1 to {high}", holds


_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "stream": ("true or false", lambda value: isinstance(value, bool)),
    "stream_options": ("an object", lambda value: isinstance(value, dict)),
    "user": ("text", lambda value: isinstance(value, str)),
    "tools": ("a list", lambda value: isinstance(value, list)),
    "stop": ("text or a list of texts", lambda value: isinstance(value, str | list)),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _count(2**31 - 1),
    "max_completion_tokens": _count(2**31 - 1),
    "n": _count(128),
}

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
