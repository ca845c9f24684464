"""Anthropic's wire: the Messages API."""

from collections.abc import Mapping
from typing import Any

from services.router.domain.catalog import Provider
from services.router.domain.reply import Naming, Reply
from services.router.providers.adapter import ChunkReader
from services.router.providers.anthropic_answer import AnthropicStream, read_reply
from services.router.providers.anthropic_format import request_body
from services.router.providers.openai_format import decoded

VERSION = "2023-06-01"


class Anthropic:
    def url(self, provider: Provider, upstream: str, *, streamed: bool) -> str:  # noqa: ARG002
        base = provider.base_url.rstrip("/")
        return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"

    def headers(self, key: str) -> dict[str, str]:
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def body(
        self,
        provider: Provider,  # noqa: ARG002
        body: Mapping[str, Any],
        upstream: str,
        *,
        streamed: bool,
    ) -> dict[str, Any]:
        return request_body(body, upstream, streamed=streamed)

    def reply(self, data: bytes, naming: Naming) -> Reply:
        return read_reply(decoded(data), naming)

    def reader(self) -> ChunkReader:
        return AnthropicStream()
