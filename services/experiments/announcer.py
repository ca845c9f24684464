"""Tells others that an experiment moved: over Redis at once, to a webhook until it has heard."""

import asyncio
import hashlib
import hmac
from contextlib import suppress
from typing import Protocol

import aiohttp
import orjson
import structlog
from pydantic import SecretStr

from common.errors import Failure
from common.redis_names import EXPERIMENTS_MOVED
from services.experiments.store.outbox import Move, Outbox

POLL_S = 10.0  # for what another replica left untold
WEBHOOK_S = 5.0
OK = range(200, 300)

log = structlog.get_logger()


class Publishes(Protocol):
    async def publish(self, channel: str, message: bytes) -> bool: ...


class Announcer:
    """
    Args:
        outbox: Holds what is to be told.
        redis: Tells those who listen now; who does not asks later.
        webhook_url: Is told each move at least once; None: nobody is.
        webhook_secret: Signs it: `x-optimizer-signature: sha256=<HMAC of the body>`.
    """

    def __init__(
        self,
        outbox: Outbox,
        redis: Publishes,
        *,
        webhook_url: str | None,
        webhook_secret: SecretStr | None,
    ) -> None:
        self._outbox = outbox
        self._redis = redis
        self._url = webhook_url
        self._secret = webhook_secret.get_secret_value().encode() if webhook_secret else b""
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """Something may be there to tell."""
        self._moved.set()

    async def run(self) -> None:
        """Tell, for ever. What fails is told later, by whoever is there."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WEBHOOK_S)) as session:
            while True:
                self._moved.clear()
                try:
                    moves = await self._outbox.claim()
                    for move in moves:
                        await self._redis.publish(EXPERIMENTS_MOVED, _body(move))
                    await asyncio.gather(*(self._tell(session, move) for move in moves))
                except Failure as failure:
                    log.warning("moves wait to be told", reason=failure.message)
                except Exception:
                    log.exception("cannot tell moves")  # who listens asks by itself as well
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._moved.wait()

    async def _tell(self, session: aiohttp.ClientSession, move: Move) -> None:
        if self._url is None or await self._post(session, self._url, _body(move)):
            await self._outbox.told(move)

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes) -> bool:
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-optimizer-signature": f"sha256={signature}",
        }
        try:
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status in OK:
                    return True
                problem = f"it answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            problem = type(error).__name__
        log.warning("the webhook was not told", problem=problem)
        return False


def _body(move: Move) -> bytes:
    return orjson.dumps(
        {
            "id": move.id,
            "experiment_id": move.experiment_id,
            "status": move.status,
            "by": move.by,
            "reason": move.reason,
            "at": move.at,
        }
    )
