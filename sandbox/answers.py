"""What a model says: a function of seed, model and messages. Pure."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.models import SandboxModel
from sandbox.request import ChatRequest
from sandbox.schema import smallest
from sandbox.skill import difficulty, right_at, without_directives
from sandbox.tasks import find_task
from sandbox.tokens import pieces_of

_KEYWORD = re.compile(
    r"\b(?!there|about|which|their|would|could|should|please|explain|write)[a-z][a-z-]{4,24}",
    re.IGNORECASE,
)
_SENTENCES = (
    "The question turns on {word}, so that is where to begin.",
    "Write down what is known about {word} before anything else.",
    "A small example with {word} shows where the difficulty lies.",
    "There are two common ways to treat {word}, and they differ in effort more than in result.",
    "Check the assumption about {word} first; most mistakes start there.",
    "Once {word} is settled, the rest follows step by step.",
    "It helps to state what {word} is not.",
    "In practice, measure {word} rather than guess it.",
)
_GOOD_END = "That covers what was asked."
_BAD_END = "I may have missed the point of the question."


@dataclass(frozen=True, slots=True)
class Reply:
    pieces: list[str]  # one token each; of the text, or of a tool call's arguments
    finish_reason: str  # stop, length, tool_calls
    tool: str | None  # the function to call; None: the pieces are text
    correct: bool
    difficulty: float
    draw: int  # 64 pseudo-random bits that go with this reply


def reply_to(request: ChatRequest, *, seed: int) -> Reply:
    """Answer *request*; equal seed, model and messages give an equal reply."""
    key = b"%d\0%b\0" % (seed, request.model.name.encode()) + orjson.dumps(request.messages)
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
    prompt = without_directives(request.prompt)
    how_hard = difficulty(prompt)
    correct = right_at(request.model.name, prompt, how_hard, seed=seed)
    if request.forced_tool is not None:
        text = orjson.dumps(smallest(request.forced_tool.get("parameters") or {})).decode()
    elif request.json_schema is not None:
        text = orjson.dumps(_json_answer(request.json_schema, correct)).decode()
    else:
        text = _text(request.model, prompt, how_hard, correct, draw)
    for stop in request.stop:
        text = text.partition(stop)[0]
    pieces = pieces_of(text)
    finish_reason = "stop" if request.forced_tool is None else "tool_calls"
    if len(pieces) > request.max_output_tokens:
        pieces = pieces[: request.max_output_tokens]
        finish_reason = "length"
    tool = None if request.forced_tool is None else str(request.forced_tool["name"])
    return Reply(pieces, finish_reason, tool, correct, how_hard, draw)


def _json_answer(schema: Any, correct: bool) -> Any:
    return smallest(schema) if schema else {"simulated": True, "correct": correct}


def _text(model: SandboxModel, prompt: str, how_hard: float, correct: bool, draw: int) -> str:
    if task := find_task(prompt):
        return task.right if correct else task.wrong
    words = _KEYWORD.findall(prompt[:4_000]) or ["the question"]
    sentences = [f"This is a simulated answer by the sandbox model {model.name}."]
    for index in range(2 + round(6 * how_hard) + draw % 3):
        bits = draw >> (index * 5)
        sentence = _SENTENCES[(bits + index) % len(_SENTENCES)]
        sentences.append(sentence.format(word=words[(bits >> 3) % len(words)]))
    sentences.append(_GOOD_END if correct else _BAD_END)
    return " ".join(sentences)
