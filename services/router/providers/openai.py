"""OpenAI's wire, and that of everybody who is compatible with it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from services.router.domain.catalog import Provider
from services.router.domain.reply import Naming, Reply
from services.router.providers.adapter import ChunkReader
from services.router.providers.openai_format import OpenAiStream, decoded, reply_of, request_body


class OpenAi:
    def url(self, provider: Provider, upstream: str, *, streamed: bool) -> str:  # noqa: ARG002
        return f"{provider.base_url.rstrip('/')}/chat/completions"

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(
        self, provider: Provider, body: Mapping[str, Any], upstream: str, *, streamed: bool
    ) -> dict[str, Any]:
        its_own = urlsplit(provider.base_url).hostname == "api.openai.com"
        return request_body(body, upstream, streamed=streamed, renames_max_tokens=its_own)

    def reply(self, data: bytes, naming: Naming) -> Reply:
        return reply_of(decoded(data), data, naming)

    def reader(self) -> ChunkReader:
        return OpenAiStream()
