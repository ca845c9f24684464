"""An OpenAI request in the words of Gemini's generateContent. Pure."""

import mimetypes
from collections.abc import Mapping
from typing import Any

import orjson

from common.errors import Invalid
from services.router.providers.content import (
    OPENAI_ONLY,
    data_url,
    messages_of,
    part_text,
    plain_text,
    refuse_what_cannot_be_said,
    tool_arguments,
)

_TRANSLATED = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "response_format",
        "generationConfig",
    }
)
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def request_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Translate a chat completion request. Fields that OpenAI does not have pass through.

    Raises:
        Invalid: it asks for what this API has no words for; `param` says which.
    """
    refuse_what_cannot_be_said(body, "Gemini")
    system, contents = _conversation(body)
    sent: dict[str, Any] = {
        **{k: v for k, v in body.items() if k not in OPENAI_ONLY and k not in _TRANSLATED},
        "contents": contents,
    }
    if system:
        sent["systemInstruction"] = {"parts": system}
    if settings := _settings(body):
        sent["generationConfig"] = settings
    if tools := body.get("tools"):
        sent["tools"] = _tools(tools)
        if choice := _choice(body.get("tool_choice")):
            sent["toolConfig"] = {"functionCallingConfig": choice}
    return sent


def _conversation(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    called: dict[Any, Any] = {}  # id of a tool call: name of the function
    for message, where in messages_of(body):
        role = message.get("role")
        if role in {"system", "developer"}:
            system.extend(_parts(message.get("content"), where))
            continue
        if role == "tool":
            speaker, parts = "user", [_tool_result(message, called)]
        elif role == "assistant":
            speaker, parts = "model", _said(message, where, called)
        else:
            speaker, parts = "user", _parts(message.get("content"), where)
        if not parts:
            continue
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["parts"].extend(parts)
        else:
            turns.append({"role": speaker, "parts": parts})
    if not turns:
        raise Invalid("messages holds nothing to answer", param="messages")
    return system, turns


def _said(message: Mapping[str, Any], where: str, called: dict[Any, Any]) -> list[dict[str, Any]]:
    parts = _parts(message.get("content"), where)
    for call in message.get("tool_calls") or []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise Invalid(f"{where}.tool_calls holds no function call", param=f"{where}.tool_calls")
        called[call.get("id")] = function.get("name")
        arguments = tool_arguments(function.get("arguments"), where)
        part: dict[str, Any] = {"functionCall": {"name": function.get("name"), "args": arguments}}
        if signature := _signature(call):
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _signature(call: Mapping[str, Any]) -> Any:
    """Return what their thinking models want back with a call; it travels as they put it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _tool_result(message: Mapping[str, Any], called: Mapping[Any, Any]) -> dict[str, Any]:
    text = plain_text(message.get("content"))
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    result = parsed if isinstance(parsed, dict) else {"result": text}
    name = called.get(message.get("tool_call_id")) or message.get("name") or "tool"
    return {"functionResponse": {"name": name, "response": result}}


def _parts(content: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if content is None:
        return []
    if not isinstance(content, list):
        raise Invalid(f"{where}.content must be text or parts", param=f"{where}.content")
    return [made for part in content if (made := _part(part, where)) is not None]


def _part(part: Any, where: str) -> dict[str, Any] | None:
    if isinstance(part, str):
        return {"text": part} if part else None
    if not isinstance(part, dict):
        raise Invalid(f"{where}.content holds no part", param=f"{where}.content")
    kind = part.get("type")
    if kind in {"text", "refusal"}:
        text = part_text(part)
        return {"text": text} if text else None
    if kind == "image_url":
        image = part.get("image_url")
        return _blob(image.get("url") if isinstance(image, dict) else image, where)
    if kind == "file":
        file = part.get("file")
        return _blob(file.get("file_data") if isinstance(file, dict) else None, where)
    if kind == "input_audio":
        audio = part.get("input_audio")
        given = audio if isinstance(audio, dict) else {}
        media_type = f"audio/{given.get('format') or 'wav'}"
        return {"inlineData": {"mimeType": media_type, "data": given.get("data")}}
    return part  # one of their own, or one that is invented tomorrow


def _blob(address: Any, where: str) -> dict[str, Any]:
    if isinstance(address, str) and address.startswith(("https://", "http://", "gs://")):
        media_type = mimetypes.guess_type(address.partition("?")[0])[0] or "image/jpeg"
        return {"fileData": {"mimeType": media_type, "fileUri": address}}
    media_type, data = data_url(address, where)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        theirs: body[ours] for ours, theirs in _SETTINGS.items() if body.get(ours) is not None
    }
    if limit := body.get("max_completion_tokens") or body.get("max_tokens"):
        settings["maxOutputTokens"] = limit
    if stop := body.get("stop"):
        settings["stopSequences"] = [stop] if isinstance(stop, str) else stop
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}:
        settings["responseMimeType"] = "application/json"
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if isinstance(schema, dict):
            settings["responseJsonSchema"] = schema
        elif wanted["type"] == "json_schema":
            raise Invalid("response_format holds no schema", param="response_format")
    given = body.get("generationConfig")
    return {**settings, **(given if isinstance(given, dict) else {})}


def _tools(tools: Any) -> list[Any]:
    declared: list[dict[str, Any]] = []
    others: list[Any] = []
    for tool in tools if isinstance(tools, list) else []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            others.append(tool)  # one of their own, such as googleSearch
            continue
        made = {"name": function.get("name")}
        if description := function.get("description"):
            made["description"] = description
        if parameters := function.get("parameters"):
            made["parametersJsonSchema"] = parameters
        declared.append(made)
    return [*([{"functionDeclarations": declared}] if declared else []), *others]


def _choice(choice: Any) -> dict[str, Any] | None:
    if isinstance(choice, dict) and isinstance(function := choice.get("function"), dict):
        return {"mode": "ANY", "allowedFunctionNames": [function.get("name")]}
    mode = _MODES.get(choice) if isinstance(choice, str) else None
    return {"mode": mode} if mode else None
