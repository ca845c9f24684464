"""
HTTP to providers: one shared session, every wait bounded, every trouble a `ProviderFailure`.

Redirects are never followed: they would carry the key and the prompt to somebody else.
"""

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import yarl

from services.router.domain.provider_failure import (
    ProviderFailure,
    error_object,
    failure_of_status,
)
from services.router.providers.adapter import Call

MOST_CONNECTIONS = 2_000
MOST_ERROR_BYTES = 64 * 1024
ERROR_BODY_S = 5.0
KEEP_ALIVE_S = 30
_OK = 200


def open_session() -> aiohttp.ClientSession:
    """Open the session that all calls share. Its connections outlive the calls."""
    connector = aiohttp.TCPConnector(
        limit=MOST_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=60
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "ai-cost-optimizer", "Content-Type": "application/json"},
        trust_env=False,
    )


async def send(
    session: aiohttp.ClientSession, call: Call, attempt_id: UUID, *, timeout_s: float
) -> aiohttp.ClientResponse:
    """
    Send *call* and return the answer once its status is known to be 200. The caller releases it.

    Raises:
        ProviderFailure: anything else happened.
    """
    connect_s = call.provider.timeouts.connect_s
    headers = {
        **call.headers,
        "X-Client-Request-Id": str(attempt_id),
        "Accept": "text/event-stream" if call.streamed else "application/json",
    }
    if call.streamed:
        headers["Accept-Encoding"] = "identity"  # a compressor in between holds tokens back
    async with _translated(what="no answer"), asyncio.timeout(timeout_s):
        response = await session.post(
            yarl.URL(call.url, encoded=True),
            data=call.data,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_s),
        )
    if response.status == _OK:
        return response
    try:
        said = await _error_body(response)
    finally:
        response.release()
    raise failure_of_status(response.status, said, retry_after_s=_retry_after_s(response, said))


async def read_all(
    response: aiohttp.ClientResponse,
    *,
    most_bytes: int,
    timeout_s: float,
    idle_s: float | None = None,
) -> bytes:
    """
    Read a body of at most *most_bytes*, counted after decompression.

    Args:
        response: Open.
        most_bytes: Of the body.
        timeout_s: For all of it.
        idle_s: Between two pieces of it; None: only *timeout_s* counts.

    Raises:
        ProviderFailure: it is larger, broke off, or took too long.
    """
    parts: list[bytes] = []
    size = 0
    async with _translated(what="answer cut", kind="truncated"), asyncio.timeout(timeout_s):
        while data := await _next_piece(response, idle_s):
            parts.append(data)
            size += len(data)
            if size > most_bytes:
                raise ProviderFailure("garbage", "answer too large", maybe_billed=True)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _next_piece(response: aiohttp.ClientResponse, idle_s: float | None) -> bytes:
    async with asyncio.timeout(idle_s):
        return await response.content.readany()


async def read_some(response: aiohttp.ClientResponse) -> bytes:
    """
    Read what has arrived, at least one byte; b"" at the end. The caller bounds the wait.

    Raises:
        ProviderFailure: the connection broke.
    """
    async with _translated(what="stream cut", kind="truncated"):
        return await response.content.readany()


@asynccontextmanager
async def _translated(*, what: str, kind: Any = "reset") -> AsyncIterator[None]:
    """Turn what aiohttp raises into failures of ours; *kind* and *what* name a broken one."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise ProviderFailure("unreachable", "no connection in time") from error
    except TimeoutError as error:
        raise ProviderFailure("timed_out", "timed out", maybe_billed=True) from error
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
        raise ProviderFailure("unreachable", "no connection") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
        broken = "connection reset" if kind == "reset" else what
        raise ProviderFailure(kind, broken, maybe_billed=True) from error
    except aiohttp.ClientPayloadError as error:
        raise ProviderFailure("truncated", what, maybe_billed=True) from error
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
        raise ProviderFailure("garbage", "unintelligible answer", maybe_billed=True) from error


async def _error_body(response: aiohttp.ClientResponse) -> Any:
    """Read what the provider says about its refusal; None when it says nothing we can read."""
    try:
        data = await read_all(response, most_bytes=MOST_ERROR_BYTES, timeout_s=ERROR_BODY_S)
        return orjson.loads(data)
    except (ProviderFailure, orjson.JSONDecodeError):
        return None


def _retry_after_s(response: aiohttp.ClientResponse, parsed: Any) -> float | None:
    """Find out how long to wait: Retry-After in seconds or as a date, or Gemini's RetryInfo."""
    told = response.headers.get("Retry-After", "")
    if told:
        try:
            return _bounded(float(told))
        except ValueError:
            return _until(told)
    details = (error_object(parsed) or {}).get("details")
    for detail in details if isinstance(details, list) else []:
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return _bounded(float(delay[:-1]))
            except ValueError:
                return None
    return None


def _until(date: str) -> float | None:
    try:
        return _bounded(email.utils.parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), 3600.0) if seconds == seconds else None  # noqa: PLR0124 - NaN
