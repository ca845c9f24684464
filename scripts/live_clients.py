"""Live sockets by the thousand in one process: each says when it heard what."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

CONNECT_S = 30.0
AT_ONCE = 50  # connecting
SMALL = 4096  # bytes that the kernel keeps for who does not read
SEGMENT = 1460  # bytes, as on Ethernet; loopback's let the sender's kernel take megabytes
PING = b'{"action":"ping"}'

Hear = Callable[[bytes], None]


class Client(asyncio.Protocol):
    """
    One socket, on the library's own protocol: its high-level client costs more than the gateway.

    Args:
        url: ws://...
        hear: Called with each snapshot.
    """

    def __init__(self, url: str, hear: Hear) -> None:
        self._talk = ClientProtocol(parse_uri(url))
        self._hear = hear
        self._transport: asyncio.Transport | None = None
        self._open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    async def connect(self, *, small: bool = False) -> None:
        """
        Connect and shake hands.

        Args:
            small: Let the kernels on the way keep little of what is not read.

        Raises:
            OSError: the server does not want to.
        """
        uri = self._talk.uri
        line = socket.socket(socket.AF_INET6 if ":" in uri.host else socket.AF_INET)
        line.setblocking(False)
        if small:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            await loop.sock_connect(line, (uri.host, uri.port))
            await loop.create_connection(lambda: self, sock=line)
            self._talk.send_request(self._talk.connect())
            self._flush()
            await self._open

    def stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self.lost:
            self._transport.resume_reading()

    def ask(self) -> None:
        """Want the newest snapshot now."""
        if not self.lost:
            self._talk.send_text(PING)
            self._flush()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._talk.receive_data(data)
        for event in self._talk.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._hear(bytes(event.data))
            elif isinstance(event, Response):
                self._opened()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self._open.done():
            self._open.set_exception(exc or ConnectionError("closed by the server"))

    def _opened(self) -> None:
        if self._talk.handshake_exc is None:
            self._open.set_result(None)
        else:
            self._open.set_exception(ConnectionError(str(self._talk.handshake_exc)))

    def _flush(self) -> None:
        """Send what is due, answers to the server's own pings among it."""
        if self._transport is not None and not self._transport.is_closing():
            for data in self._talk.data_to_send():
                self._transport.write(data)


async def connected(clients: Sequence[Client], *, small: bool = False) -> None:
    """Connect them all, some at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def connect(client: Client) -> None:
        async with turn:
            await client.connect(small=small)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(connect(client))
