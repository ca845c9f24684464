"""Spend: each cent of the ledger once, with what is not in it yet."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from optimizer.router.v1.ledger_pb2 import LedgerRow, ReadLedgerResponse

from common.ids import new_id
from common.ledger_follower import LedgerFollower
from common.migrate import migrate
from common.postgres import close_pool, open_pool
from services.gateway import __main__ as gateway
from services.gateway.settings import GatewaySettings
from services.gateway.store.spend import Spend
from tests.gateway_fakes import TOKEN, a_stack

FOLDER = Path(gateway.__file__).parent / "migrations"


@pytest.fixture
async def pool(database):
    url = database.url("gateway")
    await migrate(url, "gateway", FOLDER)
    opened = await open_pool(GatewaySettings(database_url=url, internal_token=TOKEN))
    yield opened
    await close_pool(opened)


def a_row(kind: int, request_id: str, *, cost: int | None = None, **fields) -> LedgerRow:
    said = {
        "tenant": "anonymous",
        "pricing": "priced",
        "recorded_at_ms": int(datetime.now(UTC).timestamp() * 1000),
        "attempt_id": request_id,
        **fields,
    }
    return LedgerRow(kind=kind, request_id=request_id, cost_nano_usd=cost, **said)


def a_request(request_id: str, cost: int | None, **fields) -> list[LedgerRow]:
    return [
        a_row(LedgerRow.KIND_OPENED, request_id, cost=999, **fields),
        a_row(LedgerRow.KIND_SETTLED, request_id, cost=cost, **fields),
        a_row(LedgerRow.KIND_CLOSED, request_id, cost=cost, **fields),
    ]


class Ledger:
    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []

    async def read(self, cursor: str, limit: int) -> ReadLedgerResponse:
        seen = int(cursor or 0)
        rows = self.rows[seen : seen + limit]
        position = seen + len(rows)
        return ReadLedgerResponse(
            rows=rows, next_cursor=str(position), more=position < len(self.rows)
        )


def a_follower(pool, spend: Spend, ledger: Ledger) -> LedgerFollower:
    return LedgerFollower(
        schema="gateway",
        pool=pool,
        read=ledger.read,
        apply=spend.apply,
        after_apply=spend.refresh,
        limit=2,
    )


async def test_each_cent_counts_once_however_often_it_is_followed(pool):
    spend, ledger = Spend(pool), Ledger()
    made = [str(new_id()) for _ in range(5)]
    for request_id in made:
        ledger.rows += a_request(request_id, 100)
    ledger.rows.append(a_row(LedgerRow.KIND_CORRECTED, made[0], cost=-30))

    for _ in range(2):
        assert await a_follower(pool, spend, ledger).catch_up(5)

    assert spend.today_nano_usd("anonymous") == spend.today_nano_usd(None) == 470
    assert await pool.fetchrow("SELECT requests, unpriced FROM gateway.spend") == (5, 0)


async def test_two_replicas_share_the_work_and_know_the_same(pool):
    one, two, ledger = Spend(pool), Spend(pool), Ledger()
    for _ in range(30):
        ledger.rows += a_request(str(new_id()), 10)
    followers = [a_follower(pool, spend, ledger) for spend in (one, two)]

    assert await asyncio.gather(*(f.catch_up(10) for f in followers)) == [True, True]
    await asyncio.gather(one.refresh(), two.refresh())

    assert one.today_nano_usd(None) == two.today_nano_usd(None) == 300


async def test_tenants_are_told_apart_and_unpriced_is_counted_not_priced(pool):
    spend, ledger = Spend(pool), Ledger()
    ledger.rows += a_request(str(new_id()), 100)
    ledger.rows += a_request(str(new_id()), 5, tenant="admin")
    ledger.rows += a_request(str(new_id()), None, tenant="admin", pricing="unpriced")

    await a_follower(pool, spend, ledger).catch_up(5)

    assert (spend.today_nano_usd("admin"), spend.today_nano_usd(None)) == (5, 105)
    row = await pool.fetchrow("SELECT requests, unpriced FROM gateway.spend WHERE tenant = 'admin'")
    assert row == (2, 1)


async def test_an_answer_counts_before_its_row_is_applied_and_not_twice_after(pool):
    spend, ledger = Spend(pool), Ledger()
    first, second = str(new_id()), str(new_id())
    for request_id in (first, second):
        spend.expect(request_id, "anonymous")
    spend.answered(first, 100)
    before = spend.today_nano_usd(None)
    ledger.rows += a_request(first, 100) + a_request(second, 50)
    await a_follower(pool, spend, ledger).catch_up(5)
    applied = spend.today_nano_usd(None)
    spend.answered(second, 50)  # its row was faster than its answer

    assert (before, applied, spend.today_nano_usd(None)) == (100, 150, 150)


async def test_yesterday_is_over(pool):
    spend, ledger = Spend(pool), Ledger()
    ledger.rows += a_request("01890000-0000-7000-8000-000000000000", 100)

    await a_follower(pool, spend, ledger).catch_up(5)

    assert spend.today_nano_usd(None) == 0
    assert await pool.fetchval("SELECT sum(cost_nano_usd) FROM gateway.spend") == 100


async def test_nonsense_in_the_ledger_stops_nobody(pool):
    spend, ledger = Spend(pool), Ledger()
    ledger.rows += a_request("no uuid", 100)
    ledger.rows += a_request("ffffffff-ffff-7fff-bfff-ffffffffffff", 100)  # the year 10889
    ledger.rows += a_request(str(new_id()), 100, tenant="a\x00b")
    ledger.rows += a_request(str(new_id()), 2**62)
    ledger.rows += a_request(str(new_id()), -5)
    ledger.rows += a_request(str(new_id()), 7)

    assert await a_follower(pool, spend, ledger).catch_up(5)

    assert spend.today_nano_usd(None) == 7


async def test_a_gateway_takes_today_from_the_ledger(database, redis_url):
    async with a_stack(database_url=database.url("gateway"), redis_url=redis_url) as stack:
        stack.router.rows += a_request(str(new_id()), 10**9)
        async with asyncio.timeout(10):
            while True:
                answer = await stack.client.post("/complete", json={"prompt": "Hello"})
                if answer.json()["total_cost_today"] > 1:
                    break
                await asyncio.sleep(0.1)

    assert answer.json()["total_cost_today"] == 1 + 1.5e-06 * len(stack.router.asks)
