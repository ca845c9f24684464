"""A day's usage for FinOps tools, streamed hour by hour."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from optimizer.router.v1 import router_pb2
from starlette.responses import StreamingResponse

from common.errors import Invalid, NotFound
from services.gateway.api.forms import PROBLEMS, known
from services.gateway.api.requests import whose
from services.gateway.clients.router import Router
from services.gateway.domain import focus
from services.gateway.domain.focus import Usage

if TYPE_CHECKING:
    from services.gateway.parquet import ParquetFile

Day = Annotated[date, Query(description="UTC, YYYY-MM-DD")]
FormatName = Literal["csv", "parquet"]
Format = Annotated[FormatName, Query(alias="format", description="the same rows, as text or typed")]
Hours = AsyncIterator[router_pb2.ReadUsageResponse]

MEDIA_TYPES: dict[FormatName, str] = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The columns of FOCUS: one row for each hour, provider, model and key; what"
        " is unpriced has no cost and says so in its tags",
        "content": {
            MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
            MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def routes(router: Router) -> APIRouter:
    api = APIRouter(prefix="/export", tags=["metrics"])

    @api.get("/focus", responses={**PROBLEMS, **_FILE}, response_class=StreamingResponse)
    async def export_focus(request: Request, day: Day, as_: Format = "csv") -> StreamingResponse:
        if day > datetime.now(UTC).date():
            raise Invalid("day must not be in the future.", param="day")
        hours = router.usage(
            router_pb2.ReadUsageRequest(day=day.isoformat(), tenant=whose(request))
        )
        try:
            first = await anext(hours, None)  # what fails before it is a plain failure
        except NotFound as failure:
            raise NotFound(f"The ledger does not have {day}", code="day_not_found") from failure
        write = _csv if as_ == "csv" else _parquet
        return StreamingResponse(
            write(_all(first, hours)),
            media_type=MEDIA_TYPES[as_],
            headers={"content-disposition": f'attachment; filename="focus-{day}.{as_}"'},
        )

    return api


async def _all(
    first: router_pb2.ReadUsageResponse | None, others: Hours
) -> AsyncIterator[list[Usage]]:
    if first is not None:
        yield _usage(first)
        async for hour in others:
            yield _usage(hour)


async def _csv(hours: AsyncIterator[list[Usage]]) -> AsyncIterator[str]:
    yield focus.header()
    async for usage in hours:
        yield focus.rows(usage)


async def _parquet(hours: AsyncIterator[list[Usage]]) -> AsyncIterator[bytes]:
    """Write in a thread. What breaks off has no end, and so cannot be taken for a whole file."""
    file = await asyncio.to_thread(_parquet_file)
    async for usage in hours:
        yield await asyncio.to_thread(file.add, usage)
    yield await asyncio.to_thread(file.finish)


def _parquet_file() -> "ParquetFile":
    from services.gateway.parquet import ParquetFile  # noqa: PLC0415 - large, and seldom needed

    return ParquetFile()


def _usage(hour: router_pb2.ReadUsageResponse) -> list[Usage]:
    start = datetime.fromtimestamp(hour.from_ms / 1000, UTC)
    return [
        Usage(
            start=start,
            provider=one.provider,
            model=one.model,
            tenant=one.tenant,
            attempts=one.attempts,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cached_input_tokens=one.cached_input_tokens,
            cost_nano_usd=known(one, "cost_nano_usd"),
            estimated=one.estimated,
        )
        for one in hour.usage
    ]
