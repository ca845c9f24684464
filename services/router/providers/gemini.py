"""Gemini's wire: generateContent."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from services.router.domain.catalog import Provider
from services.router.domain.reply import Naming, Reply
from services.router.providers.adapter import ChunkReader
from services.router.providers.gemini_answer import GeminiStream, read_reply
from services.router.providers.gemini_format import request_body
from services.router.providers.openai_format import decoded

_VERSIONED = re.compile(r"/v\d\w*$")


class Gemini:
    def url(self, provider: Provider, upstream: str, *, streamed: bool) -> str:
        base = provider.base_url.rstrip("/")
        if not _VERSIONED.search(base):
            base += "/v1beta"
        name = quote(upstream.removeprefix("models/"), safe="")
        method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
        return f"{base}/models/{name}:{method}"

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def body(
        self,
        provider: Provider,  # noqa: ARG002
        body: Mapping[str, Any],
        upstream: str,  # noqa: ARG002
        *,
        streamed: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        return request_body(body)

    def reply(self, data: bytes, naming: Naming) -> Reply:
        return read_reply(decoded(data), naming)

    def reader(self) -> ChunkReader:
        return GeminiStream()
