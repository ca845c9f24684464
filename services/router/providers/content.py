"""The parts of an OpenAI request that every other wire must take apart. Pure."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from common.errors import Invalid

OPENAI_ONLY = frozenset(  # means nothing elsewhere: leaving it out changes no answer for the worse
    {
        "audio",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "top_logprobs",
        "user",
        "verbosity",
        "web_search_options",
    }
)


def refuse_what_cannot_be_said(body: Mapping[str, Any], whose: str) -> None:
    """
    Refuse what would silently change its meaning.

    Raises:
        Invalid: the deprecated function calling is used.
    """
    for name in ("functions", "function_call"):
        if body.get(name) is not None:
            raise Invalid(f"{whose} models take tools, not {name}", param=name)


def messages_of(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """
    Go through the messages, each with its place ("messages[3]").

    Raises:
        Invalid: there are none, or one is no object.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages must be a list of at least one message", param="messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Invalid(f"messages[{at}] must be an object", param=f"messages[{at}]")
        yield message, f"messages[{at}]"


def part_text(part: Mapping[str, Any]) -> str:
    """Return the text of a text or refusal part."""
    text = part.get("text") or part.get("refusal")
    return text if isinstance(text, str) else ""


def plain_text(content: Any) -> str:
    """Join the text of a content, whatever its form; parts that are no text are left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        p if isinstance(p, str) else part_text(p) for p in parts if isinstance(p, str | dict)
    )


def data_url(address: Any, where: str) -> tuple[str, str]:
    """
    Split "data:image/png;base64,..." into media type and data.

    Raises:
        Invalid: it is none.
    """
    param = f"{where}.content"
    if not (isinstance(address, str) and address.startswith("data:")):
        raise Invalid(f"{param}: an image or file must be an https or a data URL", param=param)
    head, comma, data = address.removeprefix("data:").partition(",")
    media_type, *flags = head.split(";")
    if not comma or "base64" not in flags or not media_type:
        raise Invalid(f"{param}: a data URL must be data:<type>;base64,<data>", param=param)
    try:
        base64.b64decode(data[:64] + "=" * (-len(data[:64]) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"{param}: the data URL is not base64", param=param) from None
    return media_type, data


def tool_arguments(arguments: Any, where: str) -> dict[str, Any]:
    """
    Parse the arguments of an earlier tool call.

    Raises:
        Invalid: they are no JSON object.
    """
    if arguments in (None, ""):
        return {}
    param = f"{where}.tool_calls"
    try:
        parsed = orjson.loads(arguments) if isinstance(arguments, str) else arguments
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Invalid(f"{param}: arguments must be a JSON object", param=param)
    return parsed
