"""Requests that have ended, as the ledger has them: in pages, one by one, and a day's usage."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, NotFound, Unavailable
from common.grpc_client import call
from common.ids import LAST, first_id_at, new_id
from common.postgres import connection
from services.router.domain.entries import Kind, Row
from services.router.store import ledger_table, requests, usage
from services.router.store.requests import MOST_LOOKED_AT, Requests, Wanted
from tests.integration.router.router_stack import an_ask

MODELS = ("acme/small", "acme/large", "acme/rare")


def a_row(kind=Kind.CLOSED, *, at=None, **changes):
    moment = at or datetime.now(UTC)
    attempt_id = UUID(int=first_id_at(moment).int | random.getrandbits(62))
    fields = {
        "attempt_id": attempt_id,
        "request_id": attempt_id,
        "recorded_at": moment,
        "tenant": "a-key",
        "strategy": "hybrid",
        "provider": "acme",
        "model": "acme/small",
        "outcome": "ok",
        "pricing": "priced",
        "cost_nano_usd": 100,
    }
    return Row(kind=kind, **fields | changes)


async def add(pool, *rows):
    async with connection(pool) as conn:
        for start in range(0, len(rows), 1000):
            await ledger_table.add(conn, ledger_table.encode(rows[start : start + 1000]))


async def all_pages(pool, wanted, *, limit):
    found, before, pages = [], None, 0
    while pages == 0 or before:
        page = await Requests(pool).page(wanted, before=before, limit=limit)
        found += [row["attempt_id"] for row in page.requests]
        before, pages = page.next, pages + 1
        assert pages < 100
    return found


async def test_pages_are_everything_once_the_newest_first(pool):
    now = datetime.now(UTC)
    chance = random.Random(3)
    rows = [
        a_row(
            at=now - timedelta(minutes=n * 7),
            model=chance.choice(MODELS),
            tenant=chance.choice(["a-key", "b-key"]),
            outcome=chance.choice(["ok", "failed"]),
            strategy=chance.choice(["hybrid", "best"]),
        )
        for n in range(300)  # across midnight: several partitions
    ]
    await add(pool, *rows, *(a_row(Kind.SETTLED) for _ in range(50)))

    for wanted in (
        Wanted(),
        Wanted(tenant="b-key"),
        Wanted(model="acme/rare", outcome="failed"),
        Wanted(strategy="best"),
        Wanted(model="nobody/none"),
    ):
        expected = [
            row.attempt_id
            for row in sorted(rows, key=lambda row: row.attempt_id, reverse=True)
            if wanted.tenant in (None, row.tenant)
            and wanted.model in (None, row.model)
            and wanted.strategy in (None, row.strategy)
            and wanted.outcome in (None, row.outcome)
        ]
        assert expected == await all_pages(pool, wanted, limit=37)


async def test_a_page_looks_at_so_many_and_says_where_to_go_on(pool, monkeypatch):
    monkeypatch.setattr(requests, "MOST_LOOKED_AT", 10)
    rare = [a_row(model="acme/rare"), *(a_row() for _ in range(25)), a_row(model="acme/rare")]
    rare = [
        Row(**{n: getattr(row, n) for n in Row.__dataclass_fields__} | {"attempt_id": id_})
        for row, id_ in zip(rare, sorted(row.attempt_id for row in rare), strict=True)
    ]
    await add(pool, *rare)

    first = await Requests(pool).page(Wanted(model="acme/rare"), before=None, limit=5)

    assert (1, rare[-10].attempt_id) == (len(first.requests), first.next)
    both = await all_pages(pool, Wanted(model="acme/rare"), limit=5)
    assert [rare[-1].attempt_id, rare[0].attempt_id] == both


async def test_a_page_is_read_off_the_primary_key(pool):
    await add(pool, *(a_row() for _ in range(2000)))
    async with connection(pool) as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(
            row[0]
            for row in await conn.fetch(
                f"EXPLAIN {requests.FIND}",  # the statement itself
                *(LAST, MOST_LOOKED_AT, 51, None, None, None, None),
            )
        )

    assert "Index Scan Backward" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("limit", [-1, 501])
async def test_a_page_has_bounds(pool, limit):
    with pytest.raises(Invalid):
        await Requests(pool).page(Wanted(), before=None, limit=limit)


async def test_a_request_has_its_decision_its_attempts_and_its_feedback(router):
    ask = an_ask("What is 2+2?", user_id="ada", strategy="hybrid")
    await router.complete(ask=ask)
    await router.rate(ask.request_id, 2)
    await router.rate(ask.request_id, 5, comment="better")

    request = router_pb2.GetRequestRequest(request_id=ask.request_id, tenant="a-key")
    found = await call(router.stub.GetRequest, request, timeout_s=5)

    row = next(row for row in await router.ledger(ask.request_id) if row.kind == Kind.CLOSED)
    decision = orjson.loads(found.decision_json)
    kept = orjson.loads(row.details_json)
    assert {name: kept[name] for name in kept if name != "learning"} == decision
    assert b"features" not in found.decision_json
    assert ("ada", "hybrid", row.model) == (
        found.request.user_id,
        found.request.strategy,
        found.request.model,
    )
    assert row.cost_nano_usd == sum(one.cost_nano_usd for one in found.attempts)
    assert (2, 5, "better") == (
        found.feedback.revision,
        (said := orjson.loads(found.feedback.details_json))["quality_score"],
        said["comment"],
    )
    listed = await call(router.stub.ListRequests, router_pb2.ListRequestsRequest(), timeout_s=5)
    assert [found.request] == list(listed.requests)
    assert "2+2" not in str(found)


@pytest.mark.parametrize("tenant", ["b-key", "A-KEY"])
async def test_others_requests_are_not_there(router, tenant):
    ask = an_ask()
    await router.complete(ask=ask)

    request = router_pb2.GetRequestRequest(request_id=ask.request_id, tenant=tenant)
    with pytest.raises(NotFound):
        await call(router.stub.GetRequest, request, timeout_s=5)
    page = router_pb2.ListRequestsRequest(tenant=tenant)
    assert not (await call(router.stub.ListRequests, page, timeout_s=5)).requests


async def test_an_attempt_is_told_as_known_by_now(pool):
    now = datetime.now(UTC)
    closed = a_row(at=now, outcome="failed", details={"error": "timeout", "reasoning": "short"})
    guess = a_row(
        Kind.SETTLED,
        at=now + timedelta(milliseconds=5),
        request_id=closed.request_id,
        outcome="unknown",
        cost_nano_usd=500,
        estimated=True,
    )
    truth = ledger_table.correction(
        guess,
        a_row(
            Kind.SETTLED,
            attempt_id=guess.attempt_id,
            request_id=closed.request_id,
            cost_nano_usd=120,
            input_tokens=7,
        ),
    )
    stranger = a_row(Kind.SETTLED, at=now)
    await add(pool, closed, guess, truth, stranger)

    story = await Requests(pool).find(closed.request_id, tenant=None)

    assert [[guess.attempt_id] * 2] == [[r.attempt_id for r in rows] for rows in story.attempts]
    assert story.feedback is None


async def test_a_request_that_has_not_ended_is_not_there(pool):
    opened = a_row(Kind.OPENED)
    await add(pool, opened)

    with pytest.raises(NotFound):
        await Requests(pool).find(opened.attempt_id, tenant=None)


async def test_while_the_ledger_catches_up_a_request_is_not_denied(pool):
    with pytest.raises(Unavailable, match="catching up"):
        await Requests(pool, caught_up=lambda: False).find(new_id(), tenant=None)


async def test_a_days_usage_is_what_the_ledger_has_to_the_nano(pool):
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    chance = random.Random(7)
    rows = []
    for _ in range(800):
        settled = a_row(
            Kind.SETTLED,
            at=day + timedelta(seconds=chance.randrange(86_400)),
            tenant=chance.choice(["a-key", "b-key"]),
            model=chance.choice(MODELS),
            outcome=chance.choice(["ok", "failed", "unknown"]),
            input_tokens=chance.randrange(1000),
            output_tokens=chance.randrange(100),
            **chance.choice(
                [{"cost_nano_usd": None, "pricing": "unpriced"}]
                + 3 * [{"cost_nano_usd": chance.randrange(10**9)}]
            ),
        )
        rows.append(settled)
        truth = a_row(
            Kind.SETTLED,
            attempt_id=settled.attempt_id,
            request_id=settled.request_id,
            tenant=settled.tenant,
            input_tokens=5,
            **chance.choice(
                [{"cost_nano_usd": None, "pricing": "unpriced"}]
                + 3 * [{"cost_nano_usd": chance.randrange(10**9)}]
            ),
        )
        if settled.outcome == "unknown" and (late := ledger_table.correction(settled, truth)):
            rows.append(late)
    others = [a_row(Kind.SETTLED, at=day - timedelta(seconds=1)), a_row(Kind.CLOSED, at=day)]
    await add(pool, *rows, *others)

    for tenant in (None, "b-key"):
        mine = [row for row in rows if tenant in (None, row.tenant)]
        hours = [found async for found in usage.hours(pool, day.date(), tenant=tenant)]
        told = [one for _, used in hours for one in used]
        assert sum(row.cost_nano_usd or 0 for row in mine) == sum(
            one.cost_nano_usd or 0 for one in told
        )
        assert sum(row.input_tokens for row in mine) == sum(one.input_tokens for one in told)
        attempts = {row.attempt_id: row for row in mine}  # a correction comes after
        assert Counter(row.pricing == "unpriced" for row in attempts.values()) == Counter(
            {
                unpriced: sum(
                    one.attempts for one in told if (one.cost_nano_usd is None) == unpriced
                )
                for unpriced in (True, False)
            }
        )
        assert sorted(start for start, _ in hours) == [start for start, _ in hours]
        assert {day + timedelta(hours=n) for n in range(24)} == {start for start, _ in hours}


async def test_a_day_that_the_ledger_does_not_have_is_not_there(pool):
    for day in (datetime(2025, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=2)):
        with pytest.raises(NotFound):
            await anext(usage.hours(pool, day.date(), tenant=None))


@pytest.mark.parametrize("day", ["", "today", "20260131", "2026-02-30", "2026-01-31T00:00:00"])
async def test_a_day_that_is_no_date_is_refused(router, day):
    with pytest.raises(Exception, match="day must be a date"):
        async for _ in router.stub.ReadUsage(router_pb2.ReadUsageRequest(day=day), timeout=5):
            pass


async def test_usage_comes_over_the_wire(router):
    ask = an_ask()
    await router.complete(ask=ask)

    today = datetime.now(UTC).date().isoformat()
    hours = [
        hour
        async for hour in router.stub.ReadUsage(
            router_pb2.ReadUsageRequest(day=today, tenant="a-key"), timeout=5
        )
    ]

    settled = [row for row in await router.ledger() if row.kind == Kind.SETTLED]
    [one] = [one for hour in hours for one in hour.usage]
    assert (sum(row.cost_nano_usd for row in settled), len(settled)) == (
        one.cost_nano_usd,
        one.attempts,
    )
