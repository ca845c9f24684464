"""
What a request needs of a model: room, eyes, tools, a schema, a stream.

Reads any body a client may send: what it cannot make sense of needs nothing, and the provider
has the last word on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.router.domain.catalog import Model
from services.router.domain.request import Ask
from services.router.domain.usage import estimated_input_tokens

MAX_CHOICES = 128  # what OpenAI allows as `n`
SHORT_TURN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Needs:
    input_tokens: int  # estimated
    max_output_tokens: int | None  # of one choice, as the caller limits it
    choices: int
    capabilities: frozenset[str]

    @property
    def context_tokens(self) -> int:
        """Tokens that must fit in the context window."""
        return self.input_tokens + (self.max_output_tokens or 0)

    def missing(self, model: Model) -> list[str]:
        """Say what *model* lacks, in words; an empty list means that it fits."""
        lacks = sorted(self.capabilities - model.capabilities)
        if self.context_tokens > model.context_tokens:
            lacks.append(f"a context of about {self.context_tokens} tokens")
        return lacks

    def __str__(self) -> str:
        words = [*sorted(self.capabilities), f"a context of about {self.context_tokens} tokens"]
        return ", ".join(words)


def needs_of(ask: Ask) -> Needs:
    """Read what *ask* needs off its body."""
    body = ask.body
    capabilities = set()
    if any(_is_image(part) for message in _messages(body) for part in _parts(message)):
        capabilities.add("vision")
    if body.get("tools") or body.get("functions"):
        capabilities.add("tools")
    if ask.streamed or body.get("stream") is True:
        capabilities.add("streaming")
    response_format = body.get("response_format")
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        capabilities.add("json_schema")

    return Needs(
        input_tokens=estimated_input_tokens(body),
        max_output_tokens=_count(body.get("max_completion_tokens"))
        or _count(body.get("max_tokens")),
        choices=min(_count(body.get("n")) or 1, MAX_CHOICES),
        capabilities=frozenset(capabilities),
    )


def last_user_text(body: Mapping[str, Any]) -> str:
    """
    Return the text of the last user turn: it is what must be answered.

    Without a user turn, the last text there is.
    """
    last = ""
    for message in reversed(_messages(body)):
        text = "\n".join(_texts(message.get("content")))
        if not text.strip():
            continue
        if message.get("role") == "user":
            return text
        last = last or text
    return last


def question_text(body: Mapping[str, Any]) -> str:
    """
    Return what must be answered: the last user turn, in its context.

    "And why?" is as hard as what it is about: a short turn is read with the one before it.
    """
    last = last_user_text(body)
    if len(last) > SHORT_TURN_CHARS:
        return last
    turns = [
        "\n".join(_texts(message.get("content")))
        for message in _messages(body)
        if message.get("role") == "user"
    ]
    return f"{turns[-2]}\n{last}" if len(turns) > 1 and turns[-2].strip() else last


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return []
    return [message for message in messages if isinstance(message, Mapping)]


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [part for part in content if isinstance(part, Mapping)]


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield text


def _is_image(part: Mapping[str, Any]) -> bool:
    return part.get("type") in ("image_url", "input_image", "image")


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return None
