"""Saying what was slow while the caller still listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.errors import Unavailable
from common.grpc_server import Context, remaining_s


@asynccontextmanager
async def in_time(context: Context, waiting_for: str) -> AsyncIterator[None]:
    """
    Do a call's work within its caller's deadline, less the 10 % it takes to answer.

    Raises:
        Unavailable: *waiting_for*, "the database" say, took longer than that.
    """
    try:
        async with asyncio.timeout(remaining_s(context)):
            yield
    except TimeoutError:
        raise Unavailable(f"{waiting_for} does not answer; try again") from None
