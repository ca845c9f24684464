"""The OpenAPI document: what FastAPI knows of its routes, and what it cannot know of ours."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from services.gateway.api.complete import CompleteAnswer, CompleteForm
from services.gateway.api.forms import Problem
from services.gateway.api.metrics import SnapshotAnswer
from services.gateway.domain.options import (
    CACHE,
    EXPERIMENT,
    MAX_PARAMETERS_BYTES,
    PARAMETERS,
    STRATEGY,
    TAG,
    USER,
)

Document = dict[str, Any]

_REF = "#/components/schemas/{model}"
_OPTIONS = {
    STRATEGY: "the strategy that chooses the model",
    PARAMETERS: f"how it chooses: a JSON object of at most {MAX_PARAMETERS_BYTES} bytes, such as"
    ' {"preset": "economy"}; not with a pinned model, of no effect where an experiment decides',
    EXPERIMENT: "the experiment this request belongs to",
    USER: "the user an experiment assigns an arm to; the body's `user` otherwise",
    TAG: "what this request belongs to, for experiments and defaults of that scope",
    CACHE: "on or off: whether an equal earlier answer will do",
}
_TOLD = {
    "x-optimizer-model": "the model that answered",
    "x-optimizer-strategy": "the strategy that chose it",
    "x-optimizer-cost-usd": "what it cost; unpriced if nobody knows; not in streams",
    "x-optimizer-cache": "hit or miss",
    "x-optimizer-experiment-arm": "an arm, such as control or test; or none",
    "x-optimizer-fallbacks": "candidates that failed before",
}
_OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_CHAT_REQUEST = {
    "type": "object",
    "required": ["model", "messages"],
    "additionalProperties": True,
    "description": "An OpenAI chat completion request; fields not named here are passed on.",
    "properties": {
        "model": {"type": "string", "examples": ["auto", "auto:cheapest"], "maxLength": 200},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {"role": {"type": "string"}},
                "additionalProperties": True,
            },
        },
        "stream": {"type": ["boolean", "null"]},
        "user": {"type": ["string", "null"]},
    },
}
_EMBEDDING_REQUEST = {
    "type": "object",
    "required": ["model", "input"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "maxLength": 200},
        "input": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]},
        "user": {"type": ["string", "null"]},
    },
}


def document(generated: Document) -> Document:
    """Complete what FastAPI generated."""
    schemas = generated.setdefault("components", {}).setdefault("schemas", {})
    for model in (Problem, CompleteForm, CompleteAnswer, SnapshotAnswer):
        _add_schema(schemas, model)
    schemas["OpenAIError"] = _OPENAI_ERROR
    schemas["ChatRequest"] = _CHAT_REQUEST
    schemas["EmbeddingRequest"] = _EMBEDDING_REQUEST
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    paths = generated["paths"]
    for path, operations in paths.items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["responses"].update(_openai_problems())
                operation["responses"].pop("422", None)
    paths["/v1/chat/completions"] = {"post": _chat()}
    paths["/v1/embeddings"] = {"post": _embeddings()}
    paths["/complete"] = {"post": _complete()}
    paths["/routing/metrics"] = {"get": _routing_metrics()}
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    generated["components"]["securitySchemes"] = schemes
    generated["security"] = [{"bearer": []}, {"header": []}, {}]
    return generated


def _add_schema(schemas: Document, model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema


def _chat() -> Document:
    told = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in _TOLD.items()
    }
    anything = {"schema": {"type": "object", "description": "an OpenAI chat.completion"}}
    events = {"schema": {"type": "string", "description": "server-sent chat.completion.chunk"}}
    return {
        "tags": ["openai"],
        "summary": "Chat Completions",
        "operationId": "create_chat_completion",
        "parameters": _headers(_OPTIONS),
        "requestBody": _body("ChatRequest"),
        "responses": {
            "200": {
                "description": "the answer",
                "headers": told,
                "content": {"application/json": anything, "text/event-stream": events},
            },
            **_openai_problems(),
        },
    }


def _embeddings() -> Document:
    return {
        "tags": ["openai"],
        "summary": "Embeddings",
        "operationId": "create_embeddings",
        "requestBody": _body("EmbeddingRequest"),
        "responses": {
            "200": {
                "description": "the embeddings",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_openai_problems(),
        },
    }


def _complete() -> Document:
    return {
        "tags": ["completions"],
        "summary": "Complete",
        "operationId": "complete",
        "parameters": _headers((PARAMETERS, CACHE)),
        "requestBody": _body("CompleteForm"),
        "responses": {"200": _json("the answer", "CompleteAnswer"), **_problems()},
    }


def _routing_metrics() -> Document:
    return {
        "tags": ["metrics"],
        "summary": "Routing Metrics",
        "operationId": "routing_metrics",
        "responses": {"200": _json("the snapshot", "SnapshotAnswer"), **_problems()},
    }


def _headers(options: Iterable[str]) -> list[Document]:
    return [
        {"name": name, "in": "header", "description": _OPTIONS[name], "schema": {"type": "string"}}
        for name in options
    ]


def _body(schema: str) -> Document:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}},
    }


def _json(description: str, schema: str) -> Document:
    content = {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}}
    return {"description": description, "content": content}


def _problems() -> Document:
    told = {
        "400": "malformed",
        "401": "no valid key",
        "403": "not from there",
        "404": "not there",
        "413": "too large",
        "422": "out of bounds",
        "429": "money or rate is spent",
        "502": "every candidate failed",
        "503": "a part of the service is silent",
        "504": "the time is up",
    }
    return {status: _json(text, "Problem") for status, text in told.items()}


def _openai_problems() -> Document:
    told = {status: answer["description"] for status, answer in _problems().items()}
    told.pop("422")
    return {status: _json(text, "OpenAIError") for status, text in told.items()}
