"""Everything that goes to providers goes through here."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import aiohttp

from common.errors import Invalid
from services.router.domain.catalog import Catalog, Model, Provider, Timeouts
from services.router.domain.provider_failure import ProviderFailure, failure_in_band
from services.router.domain.reply import Naming, Reply
from services.router.providers.adapter import Call, Wire
from services.router.providers.anthropic import Anthropic
from services.router.providers.gemini import Gemini
from services.router.providers.http import open_session, read_all, send
from services.router.providers.openai import OpenAi
from services.router.providers.openai_embeddings import OpenAiEmbeddings
from services.router.providers.openai_format import decoded, encoded, wants_usage
from services.router.providers.stream import ChunkNormaliser
from services.router.providers.upstream_stream import UpstreamStream, content_type

MOST_BODY_BYTES = 32 * 1024 * 1024
LEFTOVER_S = 1.0  # for the last bytes of a stream that has said everything

WIRES: Mapping[str, Wire] = {"openai": OpenAi(), "anthropic": Anthropic(), "gemini": Gemini()}
EMBEDDING_WIRES: Mapping[str, Wire] = {"openai": OpenAiEmbeddings()}


def key_from_environment(provider: Provider) -> str:
    """Read the provider's key; "" when it needs none."""
    return os.environ.get(provider.api_key_env, "").strip() if provider.api_key_env else ""


class ProviderClient:
    """
    Calls providers. Make one a process and close it at the end.

    Args:
        catalog: Returns the catalog of this moment.
        key_of: Finds a provider's key.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        *,
        key_of: Callable[[Provider], str] = key_from_environment,
    ) -> None:
        self._catalog = catalog
        self._key_of = key_of
        self._session: aiohttp.ClientSession | None = None
        self._siblings: dict[str, dict[str, Model]] = {}
        self._siblings_of: Catalog | None = None
        self._leftovers: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._leftovers:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    def timeouts(self, model: Model) -> Timeouts:
        """Return the limits of the provider of *model*, of this moment."""
        provider = self._catalog().providers.get(model.provider)
        return provider.timeouts if provider else Timeouts()

    def prepare(self, model: Model, body: Mapping[str, Any], *, streamed: bool) -> Call:
        """
        Write *body* for the provider of *model*. Nothing is sent.

        Raises:
            Invalid: its wire has no words for it.
            ProviderFailure: the provider has left the catalog, or its key cannot be sent.
        """
        provider = self._catalog().providers.get(model.provider)
        if provider is None:
            raise ProviderFailure("unsupported", "no longer in the catalog")
        key = self._key_of(provider)
        if not (key.isascii() and (key.isprintable() or not key)):
            raise ProviderFailure("unauthorized", "our key for it is malformed")
        wire = _wire(provider, model)
        return Call(
            provider=provider,
            wire=wire,
            naming=Naming(model, self._siblings_at(provider.name)),
            url=wire.url(provider, model.upstream, streamed=streamed),
            headers=wire.headers(key),
            data=encoded(wire.body(provider, body, model.upstream, streamed=streamed)),
            streamed=streamed,
            wants_usage=wants_usage(body),
        )

    async def complete(self, call: Call, attempt_id: UUID, *, deadline: float) -> Reply:
        """
        Make a plain call; *deadline* is on time.monotonic.

        Raises:
            ProviderFailure: no answer came of it.
        """
        times = call.provider.timeouts
        end = min(deadline, time.monotonic() + times.total_s)
        response = await send(
            self._open(), call, attempt_id, timeout_s=max(end - time.monotonic(), 0)
        )
        try:
            data = await read_all(
                response,
                most_bytes=MOST_BODY_BYTES,
                timeout_s=max(end - time.monotonic(), 0),
                idle_s=times.idle_s,
            )
        except BaseException:
            response.close()
            raise
        response.release()
        return call.wire.reply(data, call.naming)

    async def stream(
        self, call: Call, attempt_id: UUID, *, first_by: float, deadline: float
    ) -> UpstreamStream:
        """
        Begin a streamed call.

        Args:
            call: What to send.
            attempt_id: The name it goes by on the provider's bill.
            first_by: When its first content must be here, on time.monotonic.
            deadline: When all of it must be here.

        Raises:
            ProviderFailure: there is no stream.
        """
        started = time.monotonic()
        times = call.provider.timeouts
        wait_s = min(first_by - started, deadline - started, times.first_token_s, times.total_s)
        response = await send(self._open(), call, attempt_id, timeout_s=max(wait_s, 0))
        if content_type(response) == "application/json":
            await self._refuse_json(response)
        return UpstreamStream(
            response,
            call.wire.reader(),
            ChunkNormaliser(call.naming, wants_usage=call.wants_usage),
            times,
            started=started,
            first_by=first_by,
            deadline=deadline,
            release=self._release,
        )

    async def _refuse_json(self, response: aiohttp.ClientResponse) -> None:
        """Find out why a provider answered a stream with one document."""
        try:
            data = await read_all(response, most_bytes=MOST_BODY_BYTES, timeout_s=LEFTOVER_S * 5)
        finally:
            response.close()
        raise failure_in_band(decoded(data)) or ProviderFailure(
            "garbage", "no stream", maybe_billed=True
        )

    def _release(self, response: aiohttp.ClientResponse) -> None:
        """Keep the connection: its last bytes, the end of the chunked body, are read aside."""
        if response.closed or response.content.at_eof():
            response.release()
            return
        task = asyncio.create_task(_read_leftovers(response))
        self._leftovers.add(task)
        task.add_done_callback(self._leftovers.discard)

    def _siblings_at(self, provider: str) -> Mapping[str, Model]:
        catalog = self._catalog()
        if catalog is not self._siblings_of:
            self._siblings, self._siblings_of = {}, catalog
            for model in catalog.models.values():
                self._siblings.setdefault(model.provider, {}).setdefault(model.upstream, model)
        return self._siblings.get(provider, {})

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session()
        return self._session


def _wire(provider: Provider, model: Model) -> Wire:
    if "embeddings" not in model.capabilities:
        return WIRES[provider.wire]
    try:
        return EMBEDDING_WIRES[provider.wire]
    except KeyError:
        raise Invalid(
            f"embeddings of {provider.name} are not served: its wire is {provider.wire}",
            code="wrong_model_kind",
            param="model",
        ) from None


async def _read_leftovers(response: aiohttp.ClientResponse) -> None:
    try:
        await read_all(response, most_bytes=MOST_BODY_BYTES, timeout_s=LEFTOVER_S)
    except ProviderFailure:
        response.close()
    else:
        response.release()
