"""A chat completion request, checked the way OpenAI checks it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.models import CHAT_MODELS, SandboxModel
from sandbox.refusal import Refusal, bad, too_long, unknown_model
from sandbox.tokens import prompt_tokens

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAY_BE_SILENT = frozenset({"assistant", "function"})  # they may carry calls only
_MOST_STOPS = 4


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: SandboxModel
    messages: Sequence[Mapping[str, Any]]
    prompt: str  # the text of the last user message
    input_tokens: int
    cached_tokens: int
    max_output_tokens: int
    stop: tuple[str, ...]
    streamed: bool
    include_usage: bool
    forced_tool: Mapping[str, Any] | None  # the function that must be called
    json_schema: Any  # None: free text; {}: any object


def json_object(body: bytes) -> dict[str, Any]:
    """
    Read a request's body.

    Raises:
        Refusal: it is no JSON object.
    """
    try:
        value = orjson.loads(body)
    except ValueError as error:
        raise Refusal(400, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(400, "The body must be a JSON object")
    return value


def chat_request(body: bytes) -> ChatRequest:
    """
    Read and check a chat completion request.

    Raises:
        Refusal: with the status and the code that OpenAI would answer.
    """
    raw = json_object(body)
    model = _chat_model(raw.get("model"))
    messages = _messages(raw.get("messages"))
    _check_numbers(raw)
    tools = raw.get("tools")
    input_tokens, cached_tokens = prompt_tokens(messages, tools)
    room = model.context_tokens - input_tokens
    if room < 1:
        raise too_long(input_tokens, model.context_tokens)
    stream_options = raw.get("stream_options") or {}
    if not isinstance(stream_options, dict):
        raise bad("stream_options", "expected an object")
    return ChatRequest(
        model=model,
        messages=messages,
        prompt=_prompt(messages),
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        max_output_tokens=min(room, _most_tokens(raw) or room),
        stop=_stops(raw.get("stop")),
        streamed=_flag(raw, "stream"),
        include_usage=bool(stream_options.get("include_usage")),
        forced_tool=_forced_tool(tools, raw.get("tool_choice")),
        json_schema=_json_schema(raw.get("response_format")),
    )


def _chat_model(name: Any) -> SandboxModel:
    if not isinstance(name, str) or not name:
        raise bad("model", "expected the name of a model")
    if name not in CHAT_MODELS:
        raise unknown_model(name)
    return CHAT_MODELS[name]


def _messages(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not value:
        raise bad("messages", "expected a non-empty array")
    for index, message in enumerate(value):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise bad(where, "expected an object")
        if message.get("role") not in _ROLES:
            raise bad(f"{where}.role", f"expected one of {', '.join(sorted(_ROLES))}")
        content = message.get("content")
        if isinstance(content, list):
            if not all(isinstance(part, dict) and "type" in part for part in content):
                raise bad(f"{where}.content", "every part must be an object with a type")
        elif not isinstance(content, str) and (
            content is not None or message["role"] not in _MAY_BE_SILENT
        ):
            raise bad(f"{where}.content", "expected a string or an array of parts")
    return value


def _prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            return text_of(message)
    return text_of(messages[-1])


def text_of(message: Mapping[str, Any]) -> str:
    """Return a message's text, its parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = (part.get("text") for part in content or ())
    return "\n".join(text for text in parts if isinstance(text, str))


def _check_numbers(raw: Mapping[str, Any]) -> None:
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
    ):
        value = raw.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise bad(name, "expected a number")
        if not low <= value <= high:
            raise bad(name, f"expected a number from {low} to {high}")
    if raw.get("n") not in (None, 1):
        raise bad("n", "the sandbox gives one choice")


def _most_tokens(raw: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = raw.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise bad(name, "expected an integer of at least 1")
        return value
    return None


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise bad("stop", "expected a string or an array of strings")
    if len(stops) > _MOST_STOPS:
        raise bad("stop", f"at most {_MOST_STOPS} sequences")
    return tuple(stop for stop in stops if stop)


def _flag(raw: Mapping[str, Any], name: str) -> bool:
    value = raw.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad(name, "expected a boolean")
    return bool(value)


def _forced_tool(tools: Any, choice: Any) -> Mapping[str, Any] | None:
    if tools is None:
        if choice not in (None, "none", "auto"):
            raise bad("tool_choice", "only allowed when tools are given")
        return None
    functions = _functions(tools)
    if choice in (None, "none", "auto"):
        return None
    if choice == "required":
        return next(iter(functions.values()))
    named = choice.get("function") if isinstance(choice, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    if name not in functions:
        raise bad("tool_choice", "expected none, auto, required or one of the tools")
    return functions[name]


def _functions(tools: Any) -> dict[str, Mapping[str, Any]]:
    if not isinstance(tools, list) or not tools:
        raise bad("tools", "expected a non-empty array")
    functions: dict[str, Mapping[str, Any]] = {}
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            raise bad(f"tools[{index}].function.name", "expected a name")
        functions[name] = function
    return functions


def _json_schema(value: Any) -> Any:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        named = value.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if isinstance(schema, dict):
            return schema
        raise bad("response_format.json_schema", "expected an object with a schema")
    raise bad("response_format", "expected type text, json_object or json_schema")
