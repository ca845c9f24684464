"""An OpenAI request in the words of Anthropic's Messages API. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from common.errors import Invalid
from services.router.providers.content import (
    OPENAI_ONLY,
    data_url,
    messages_of,
    part_text,
    refuse_what_cannot_be_said,
    tool_arguments,
)

DEFAULT_MAX_TOKENS = 4096  # the field is required there; every model of theirs takes this much

_TRANSLATED = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "stream",
        "temperature",
        "tools",
        "tool_choice",
        "response_format",
    }
)


def request_body(body: Mapping[str, Any], upstream: str, *, streamed: bool) -> dict[str, Any]:
    """
    Translate a chat completion request. Fields that OpenAI does not have pass through.

    Raises:
        Invalid: it asks for what this API has no words for; `param` says which.
    """
    refuse_what_cannot_be_said(body, "Anthropic")
    if isinstance(body.get("n"), int) and body["n"] > 1:
        raise Invalid("Anthropic models give one choice: n must be 1", param="n")
    system, messages = _conversation(body)
    sent: dict[str, Any] = {
        **{k: v for k, v in body.items() if k not in OPENAI_ONLY and k not in _TRANSLATED},
        "model": upstream,
        "max_tokens": body.get("max_completion_tokens")
        or body.get("max_tokens")
        or DEFAULT_MAX_TOKENS,
        "messages": messages,
    }
    if system:
        sent["system"] = system
    if streamed:
        sent["stream"] = True
    if isinstance(temperature := body.get("temperature"), int | float):
        sent["temperature"] = min(temperature, 1)  # theirs ends at 1, OpenAI's at 2
    if stops := _stops(body.get("stop")):
        sent["stop_sequences"] = stops
    if user := _user(body):
        sent["metadata"] = {"user_id": user}
    _add_tools(sent, body)
    _add_format(sent, body.get("response_format"))
    return sent


def _conversation(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message, where in messages_of(body):
        role = message.get("role")
        if role in {"system", "developer"}:
            system.extend(_blocks(message.get("content"), where))
            continue
        if role == "tool":
            speaker, blocks = "user", [_tool_result(message, where)]
        elif role == "assistant":
            speaker, blocks = "assistant", _said(message, where)
        else:
            speaker, blocks = "user", _blocks(message.get("content"), where)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == speaker:  # results of one turn's tools go together
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": speaker, "content": blocks})
    if not turns:
        raise Invalid("messages holds nothing to answer", param="messages")
    return system, turns


def _said(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    blocks = _blocks(message.get("content"), where)
    for call in message.get("tool_calls") or []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise Invalid(f"{where}.tool_calls holds no function call", param=f"{where}.tool_calls")
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id"),
                "name": function.get("name"),
                "input": tool_arguments(function.get("arguments"), where),
            }
        )
    return blocks


def _tool_result(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
    if blocks := _blocks(message.get("content"), where):
        result["content"] = blocks
    return result


def _blocks(content: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if content is None:
        return []
    if not isinstance(content, list):
        raise Invalid(f"{where}.content must be text or parts", param=f"{where}.content")
    return [block for part in content if (block := _block(part, where)) is not None]


def _block(part: Any, where: str) -> dict[str, Any] | None:
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise Invalid(f"{where}.content holds no part", param=f"{where}.content")
    kind = part.get("type")
    if kind in {"text", "refusal"}:
        text = part_text(part)
        extra = {k: v for k, v in part.items() if k not in {"type", "text", "refusal"}}
        return {"type": "text", "text": text, **extra} if text else None
    if kind == "image_url":
        image = part.get("image_url")
        address = image.get("url") if isinstance(image, dict) else image
        extra = {k: v for k, v in part.items() if k not in {"type", "image_url"}}
        return {"type": "image", "source": _source(address, where), **extra}
    if kind == "file":
        file = part.get("file")
        data = file.get("file_data") if isinstance(file, dict) else None
        return {"type": "document", "source": _source(data, where)}
    if kind == "input_audio":
        raise Invalid("Anthropic models do not take audio", param=f"{where}.content")
    return part  # a block of their own, or one that is invented tomorrow


def _source(address: Any, where: str) -> dict[str, Any]:
    if isinstance(address, str) and address.startswith(("https://", "http://")):
        return {"type": "url", "url": address}
    media_type, data = data_url(address, where)
    return {"type": "base64", "media_type": media_type, "data": data}


def _stops(stop: Any) -> list[str]:
    found: Iterable[Any] = [stop] if isinstance(stop, str) else stop or []
    return [s for s in found if isinstance(s, str) and s.strip()]  # blank ones are refused there


def _user(body: Mapping[str, Any]) -> str | None:
    metadata = body.get("metadata")
    told = metadata.get("user_id") if isinstance(metadata, dict) else None
    found = told or body.get("user") or body.get("safety_identifier")
    return found if isinstance(found, str) else None


def _add_tools(sent: dict[str, Any], body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    if not tools:
        return
    sent["tools"] = [_tool(tool) for tool in tools]
    choice = body.get("tool_choice")
    serial = body.get("parallel_tool_calls") is False
    if choice is None and not serial:
        return
    if isinstance(choice, dict) and isinstance(function := choice.get("function"), dict):
        chosen: dict[str, Any] = {"type": "tool", "name": function.get("name")}
    elif isinstance(choice, dict):
        chosen = dict(choice)  # in their own words already
    else:
        words = {"required": "any", "none": "none"}
        chosen = {"type": words.get(str(choice), "auto")}
    if serial and chosen["type"] != "none":
        chosen["disable_parallel_tool_use"] = True
    sent["tool_choice"] = chosen


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool  # one of their own
    ours = {"name", "description", "parameters"}
    made = {
        "name": function.get("name"),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        **{k: v for k, v in function.items() if k not in ours and v is not None},
        **{k: v for k, v in tool.items() if k not in {"type", "function"}},
    }
    if description := function.get("description"):
        made["description"] = description
    return made


def _add_format(sent: dict[str, Any], wanted: Any) -> None:
    if not (isinstance(wanted, dict) and wanted.get("type") == "json_schema"):
        return  # json_object has no equal there: the prompt says it
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise Invalid("response_format holds no schema", param="response_format")
    given = sent.get("output_config")
    sent["output_config"] = {
        **(given if isinstance(given, dict) else {}),
        "format": {"type": "json_schema", "schema": schema},
    }
