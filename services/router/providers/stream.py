"""
Streams of chat.completion.chunk, made to keep one shape whatever the provider sent. Pure.

- The first delta of a choice says its role, no later one does.
- A choice has one finish_reason. The chunk that carries it is held back until the stream has
  ended, so that the ledger can be settled before it leaves.
- Usage never rides on a content chunk; it comes last, alone, and only if the client asked.
- A chunk that needs no change leaves as the bytes it came in.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from services.router.domain.provider_failure import ProviderFailure, failure_in_band
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.domain.usage import openai_usage


@dataclass(slots=True)
class StreamFacts:
    """What is known of a stream so far."""

    answered_word: str = ""  # the provider's word for the model
    response_id: str = ""
    usage: Usage | None = None
    finish_reason: str = ""  # of the first choice that finished
    written_bytes: int = 0
    pieces: int = 0  # chunks with content
    said: list[str] = field(default_factory=list)  # the text, while there is nothing but text
    only_text: bool = True  # of one choice


@dataclass(slots=True)
class _Choice:
    began: bool = False
    finished: bool = False


@dataclass(slots=True)
class ChunkNormaliser:
    """Takes chunks in OpenAI's shape, whoever made them."""

    naming: Naming
    wants_usage: bool
    facts: StreamFacts = field(default_factory=StreamFacts)
    has_content: bool = False  # something is here that a client would notice; blanks are not
    _ready: list[bytes] = field(default_factory=list)
    _held: list[bytes] = field(default_factory=list)
    _usage_chunk: dict[str, Any] | None = None
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _public_name: str = ""

    def add(self, chunk: Any, raw: bytes | None = None) -> None:
        """
        Take one chunk.

        Args:
            chunk: As parsed. It is changed in place.
            raw: The bytes it was parsed from, if any.

        Raises:
            ProviderFailure: it is an error, or no chunk at all.
        """
        if not isinstance(chunk, dict) or "error" in chunk or "choices" not in chunk:
            if failure := failure_in_band(chunk):
                raise self._with_facts(failure)
            if not isinstance(chunk, dict):
                raise self._failure("garbage", "unintelligible stream")
        changed = self._identify(chunk)
        changed |= self._take_usage(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            if self._usage_chunk is not None and choices is None:
                return
            raise self._failure("garbage", "unintelligible stream")
        if choices:
            self._add_choices(chunk, choices, None if changed else raw)

    def take(self) -> list[bytes]:
        """Return the chunks that may leave now, and forget them."""
        ready, self._ready = self._ready, []
        return ready

    @property
    def finished(self) -> bool:
        """True when every choice that was seen has its finish_reason."""
        return bool(self._choices) and all(c.finished for c in self._choices.values())

    def end(self) -> list[bytes]:
        """
        Return what was held back, now that the stream is over.

        Raises:
            ProviderFailure: it ended too early, or never was an answer.
        """
        if not self._choices:
            raise self._failure("garbage", "empty answer")
        if not self.finished:
            raise self._failure("truncated", "stream cut")
        if not self.has_content:
            raise self._failure("garbage", "empty answer")
        tail = self._held
        if self.wants_usage and self._usage_chunk is not None:
            tail = [*tail, _json(self._usage_chunk)]
        return tail

    def _identify(self, chunk: dict[str, Any]) -> bool:
        facts = self.facts
        if not facts.response_id and isinstance(identifier := chunk.get("id"), str):
            facts.response_id = identifier
        word = chunk.get("model")
        if isinstance(word, str) and word and not facts.answered_word:
            facts.answered_word = word
            self._public_name = self.naming.answered(word).name
        public = self._public_name or self.naming.asked.name
        if word == public:
            return False
        chunk["model"] = public
        return True

    def _take_usage(self, chunk: dict[str, Any]) -> bool:
        found = chunk.get("usage")
        told = found
        if found is None and isinstance(groq := chunk.get("x_groq"), dict):
            told = groq.get("usage")
        if isinstance(told, dict) and (usage := self._read_usage(told)):
            self.facts.usage = usage
            self._usage_chunk = {**chunk, "choices": [], "usage": told}
        if "usage" in chunk and (found is not None or not self.wants_usage):
            del chunk["usage"]
            return True
        return False

    def _read_usage(self, told: dict[str, Any]) -> Usage | None:
        model = self.naming.answered(self.facts.answered_word)
        return openai_usage(told, context_tokens=model.context_tokens)

    def _add_choices(self, chunk: dict[str, Any], choices: list[Any], raw: bytes | None) -> None:
        changed = finishes = says = False
        for choice in choices:
            if not isinstance(choice, dict):
                raise self._failure("garbage", "unintelligible stream")
            changed |= self._shape(choice)
            finishes |= choice["finish_reason"] is not None
            says |= self._measure(choice["delta"])
            self._remember(choice)
        if not (finishes or says) and self.finished:
            return  # an empty word after the end
        if raw is None or changed:
            raw = _json(chunk)
        if not finishes:
            self._ready.append(raw)
        elif len(choices) == 1 and not says:
            self._held.append(raw)
        else:
            self._split(chunk, choices)
        if finishes and self.facts.finish_reason != "stop":
            self.has_content = True  # cut short or filtered: that is an answer, if a sad one

    def _shape(self, choice: dict[str, Any]) -> bool:
        """Make one choice regular; return whether that changed it."""
        index = choice.get("index")
        if not isinstance(index, int):
            index = 0
        state = self._choices.setdefault(index, _Choice())
        changed = False
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
            changed = True
        if not state.began:
            state.began = True
            if delta.get("role") != "assistant":
                choice["delta"] = {**delta, "role": "assistant"}
                changed = True
        elif "role" in delta:
            del delta["role"]
            changed = True
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str) and not state.finished:
            state.finished = True
            self.facts.finish_reason = self.facts.finish_reason or reason
        elif reason is not None or "finish_reason" not in choice:
            choice["finish_reason"] = None
            changed = True
        return changed

    def _measure(self, delta: dict[str, Any]) -> bool:
        written = 0
        for key, value in delta.items():
            if key != "role" and value:
                self.has_content |= not (isinstance(value, str) and value.isspace())
                written += len(value.encode("utf-8", "replace")) if isinstance(value, str) else 1
                if key == "tool_calls":
                    written += _tool_bytes(value)
        if written:
            self.facts.written_bytes += written
            self.facts.pieces += 1
        return written > 0

    def _remember(self, choice: dict[str, Any]) -> None:
        facts = self.facts
        for key, value in choice["delta"].items():
            if not value or key == "role":
                continue
            if key == "content" and isinstance(value, str) and not choice.get("index"):
                facts.said.append(value)
            else:
                facts.only_text = False

    def _split(self, chunk: dict[str, Any], choices: list[dict[str, Any]]) -> None:
        """Let the content go, hold the ends: content that follows must not overtake content."""
        said = [{**c, "finish_reason": None} for c in choices if c["delta"]]
        ends = [{**c, "delta": {}} for c in choices if c["finish_reason"] is not None]
        for end in ends:
            if "logprobs" in end:
                end["logprobs"] = None  # they belong to the content
        if said:
            self._ready.append(_json({**chunk, "choices": said}))
        self._held.append(_json({**chunk, "choices": ends}))

    def _failure(self, kind: Any, brief: str) -> ProviderFailure:
        return self._with_facts(ProviderFailure(kind, brief, maybe_billed=True))

    def _with_facts(self, failure: ProviderFailure) -> ProviderFailure:
        failure.usage = self.facts.usage
        failure.response_id = self.facts.response_id
        return failure


def _tool_bytes(calls: Any) -> int:
    size = 0
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            size += sum(len(v) for v in function.values() if isinstance(v, str))
    return size


def _json(chunk: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(chunk)
    except TypeError as error:  # deeper than orjson writes
        raise ProviderFailure("garbage", "unintelligible stream", maybe_billed=True) from error
