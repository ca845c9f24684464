"""OpenAI's wire for models that turn texts into vectors."""

from collections.abc import Mapping
from typing import Any

import orjson

from services.router.domain.catalog import Provider
from services.router.domain.provider_failure import ProviderFailure, failure_in_band
from services.router.domain.reply import Naming, Reply
from services.router.domain.usage import sound_usage
from services.router.providers.openai import OpenAi
from services.router.providers.openai_format import decoded


class OpenAiEmbeddings(OpenAi):
    def url(self, provider: Provider, upstream: str, *, streamed: bool) -> str:  # noqa: ARG002
        return f"{provider.base_url.rstrip('/')}/embeddings"

    def body(
        self,
        provider: Provider,  # noqa: ARG002
        body: Mapping[str, Any],
        upstream: str,
        *,
        streamed: bool,  # noqa: ARG002
    ) -> dict[str, Any]:
        return {**body, "model": upstream}

    def reply(self, data: bytes, naming: Naming) -> Reply:
        """
        Read a list of vectors. It has no id: the bill knows it by ours.

        Raises:
            ProviderFailure: it is an error, or no vectors.
        """
        parsed = decoded(data)
        if failure := failure_in_band(parsed):
            raise failure
        found = parsed if isinstance(parsed, dict) else {}
        told = found.get("usage")
        usage = sound_usage(told.get("prompt_tokens"), 0) if isinstance(told, dict) else None
        vectors = found.get("data")
        if not (isinstance(vectors, list) and vectors and all(map(_is_vector, vectors))):
            raise ProviderFailure(
                "garbage", "unintelligible embeddings", maybe_billed=True, usage=usage
            )
        word = found.get("model")
        answered = naming.answered(word if isinstance(word, str) else "")
        if word != answered.name:
            data = orjson.dumps({**found, "model": answered.name})
        return Reply(
            body=data,
            answered=answered,
            usage=usage,
            response_id="",
            finish_reason="",
            written_bytes=0,
        )


def _is_vector(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("embedding"), list | str)
