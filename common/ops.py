"""The operations port: /metrics for Prometheus, /livez and /readyz for whoever restarts us."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.errors import Failure
from common.settings import split_listen

log = structlog.get_logger()

OK = "ok"
CHECK_TIMEOUT_S = 2.0
Check = Callable[[], Awaitable[object]]
Ready = Callable[[], Awaitable[Mapping[str, str]]]


def checks(named: Mapping[str, Check], *, timeout_s: float = CHECK_TIMEOUT_S) -> Ready:
    """Make one readiness of several checks, asked at once; each fails by raising or by silence."""

    async def ready() -> Mapping[str, str]:
        answers = await asyncio.gather(*(_answer(c, timeout_s) for c in named.values()))
        return dict(zip(named, answers, strict=True))

    return ready


async def _answer(check: Check, timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            await check()
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Failure as failure:
        return failure.message
    except Exception:
        log.exception("a readiness check is broken")
        return "the check itself failed; see the log"
    return OK


class Operations:
    """
    Serves the operations port, on its own little HTTP server so that a busy edge can't hide it.

    Args:
        listen: `address:port`; port 0 takes a free one, see `address`.
        ready: Check name to "ok" or the problem; see `checks`.
    """

    def __init__(self, listen: str, *, ready: Ready) -> None:
        self._listen = split_listen(listen)
        self._ready = ready
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    @property
    def address(self) -> str:
        """Where it listens, as `address:port`."""
        address, port, *_ = self._runner.addresses[0]
        return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._listen).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _livez(self, _: web.Request) -> web.Response:
        """Alive means that the loop turns; who asks more of it restarts healthy processes."""
        return _json(200, {"status": OK})

    async def _readyz(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(2 * CHECK_TIMEOUT_S):
                answers = dict(await self._ready())
        except TimeoutError:
            answers = {"checks": f"no answer within {2 * CHECK_TIMEOUT_S:g} s"}
        except Exception:
            log.exception("readiness is broken")
            answers = {"checks": "the checks themselves failed; see the log"}
        ready = all(answer == OK for answer in answers.values())
        return _json(
            200 if ready else 503, {"status": OK if ready else "unready", "checks": answers}
        )


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
