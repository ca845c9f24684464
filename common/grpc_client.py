"""
Calling a neighbour: with the token, a deadline, balanced over its replicas, its failures as ours.

What happens while a neighbour restarts: nothing is ever sent twice. A call on a connection that
broke fails at once (`connection_lost`). A call that starts while there is no connection waits up
to 1 s for one, so that a quick restart is bridged, then fails with a clear `Unavailable`.
"""

import asyncio
from typing import Any, Self

import grpc
import orjson
from grpc import ChannelConnectivity
from grpc.aio import AioRpcError

from common import trace
from common.errors import Invalid
from common.settings import ServiceSettings
from common.wire_errors import NEVER_SENT, failure_of, never_sent, silent

BRIDGE_S = 1.0
RECONNECT_MAX_S = 1.0

_SERVICE_CONFIG = orjson.dumps({"loadBalancingConfig": [{"round_robin": {}}]}).decode()
_SETTLED = (ChannelConnectivity.READY, ChannelConnectivity.SHUTDOWN)


def open_channel(target: str, settings: ServiceSettings) -> grpc.aio.Channel:
    """
    Open a channel that lives as long as the process; it connects when first used.

    Args:
        target: `dns:///router:50051` (every address, in turn), `127.0.0.1:50051`, `unix:/path`.
        settings: The token, the certificate authority, limits.

    Raises:
        Invalid: the certificate authority's file cannot be read.
    """
    options = _options(settings.grpc_message_bytes)
    if settings.grpc_tls_ca_path and not target.startswith("unix:"):
        try:
            authority = settings.grpc_tls_ca_path.read_bytes()
        except OSError as error:
            raise Invalid(f"cannot read the certificate authority: {error}") from error
        inner = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authority), options)
    else:
        inner = grpc.aio.insecure_channel(target, options)
    return _TokenChannel(inner, settings.internal_token.get_secret_value())


async def call(method: Any, request: Any, *, timeout_s: float) -> Any:
    """
    Call a unary method of a stub over a channel of `open_channel`.

    Raises:
        Failure: what the neighbour raised, or what kept us from reaching it.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    channel = getattr(method, "channel", None)
    if channel is None or channel.get_state(try_to_connect=True) in _SETTLED:
        try:
            return await method(request, timeout=timeout_s)
        except AioRpcError as error:
            if channel is None or not never_sent(error):
                raise failure_of(error) from error
            # Nobody had noticed yet that the connection is gone.
    connected = await ready(channel, within_s=min(BRIDGE_S, timeout_s))
    if not connected and timeout_s <= BRIDGE_S:
        raise silent(NEVER_SENT)  # whoever has no more time is told this, not "too slow"
    try:
        return await method(request, timeout=max(ends - loop.time(), 0.001))
    except AioRpcError as error:
        raise failure_of(error) from error


async def ready(channel: grpc.aio.Channel, *, within_s: float = BRIDGE_S) -> bool:
    """Wait until the channel is connected, but not long; before a streaming call, say."""
    state = channel.get_state(try_to_connect=True)
    try:
        async with asyncio.timeout(within_s):
            while state not in _SETTLED:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return False
    return state is ChannelConnectivity.READY


class _WithToken:
    """A stub's method that sends the token, and for whom. Far cheaper than a client interceptor."""

    __slots__ = ("_inner", "_metadata", "channel")

    def __init__(self, inner: Any, metadata: tuple[Any, ...], channel: grpc.aio.Channel) -> None:
        self._inner = inner
        self._metadata = metadata
        self.channel = channel

    def __call__(self, *args: Any, metadata: Any = (), **kwargs: Any) -> Any:
        sent = (*self._metadata, *trace.metadata(), *metadata)
        return self._inner(*args, metadata=sent, **kwargs)


class _TokenChannel(grpc.aio.Channel):
    """A channel whose every call carries the token."""

    def __init__(self, inner: grpc.aio.Channel, token: str) -> None:
        self._inner = inner
        self._metadata = (("authorization", f"Bearer {token}"),)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _WithToken(self._inner.unary_unary(*args, **kwargs), self._metadata, self)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _WithToken(self._inner.unary_stream(*args, **kwargs), self._metadata, self)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _WithToken(self._inner.stream_unary(*args, **kwargs), self._metadata, self)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _WithToken(self._inner.stream_stream(*args, **kwargs), self._metadata, self)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _options(message_bytes: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.enable_http_proxy", 0),  # neighbours are never behind the way out
        ("grpc.use_local_subchannel_pool", 1),  # a channel waits for its own reconnects only
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(RECONNECT_MAX_S * 1000)),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # by its name: how long one attempt may take
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        # A paused neighbour is noticed within 25 s, not when TCP gives up.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
