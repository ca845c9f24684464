"""Requests and their usage over HTTP: whose they are, what is told, and what a spreadsheet gets."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import NotFound, Unavailable
from tests.gateway_fakes import a_stack

REQUEST_ID = "01890000-0000-7000-8000-000000000000"
KEY = {"authorization": "Bearer a-long-admin-key-for-tests-0123456789"}


def an_hour(hour, *usage):
    start = datetime(2026, 1, 31, hour, tzinfo=UTC)
    return router_pb2.ReadUsageResponse(from_ms=int(start.timestamp() * 1000), usage=usage)


def used(**changes):
    fields = {"provider": "acme", "model": "acme/small", "tenant": "a-key", "attempts": 1}
    return router_pb2.ReadUsageResponse.Usage(**{**fields, **changes})


async def test_a_page_has_requests_and_the_way_to_the_next(stack):
    answer = (await stack.client.get("/requests?limit=2&model=acme/small&outcome=ok")).json()

    asked = stack.router.looks[-1]
    assert ("", 2, "acme/small", "", "ok") == (
        asked.tenant,
        asked.limit,
        asked.model,
        asked.strategy,
        asked.outcome,
    )
    [one] = answer["requests"]
    assert (1.5e-06, None, None, None, False) == (
        one["cost"],
        one["baseline_cost"],
        one["experiment_id"],
        one["time_to_first_token_ms"],
        one["cache_hit"],
    )
    assert "1970-01-01T00:00:01.000Z" == one["at"]
    after = await stack.client.get("/requests", params={"before": answer["next"]})
    assert (200, answer["next"]) == (after.status_code, stack.router.looks[-1].before)


async def test_one_request_has_its_whole_story(stack):
    stack.router.given = router_pb2.GivenFeedback(
        revision=2, at_ms=2_000, details_json=b'{"quality_score":4,"is_correct":true}'
    )
    story = (await stack.client.get(f"/requests/{REQUEST_ID}")).json()

    assert (REQUEST_ID, "timeout") == (story["request"]["request_id"], story["request"]["error"])
    assert {"reasoning": "short"} == story["decision"]
    assert [("acme/large", "x"), ("acme/small", None)] == [
        (one["model"], one["error"]) for one in story["attempts"]
    ]
    assert (2, 4, True, None) == tuple(
        story["feedback"][name] for name in ("revision", "quality_score", "is_correct", "votes")
    )


async def test_without_feedback_there_is_none(stack):
    stack.router.given = None

    assert (await stack.client.get(f"/requests/{REQUEST_ID}")).json()["feedback"] is None


async def test_with_keys_everyone_sees_their_own():
    async with a_stack(admin_key=KEY["authorization"].removeprefix("Bearer ")) as locked:
        for path in ("/requests", f"/requests/{REQUEST_ID}", "/export/focus?day=2026-01-31"):
            answer = await locked.client.get(path, headers=KEY)
            assert 200 == answer.status_code

    assert ["admin"] * 3 == [look.tenant for look in locked.router.looks]


async def test_a_day_is_exported_as_focus(stack):
    stack.router.usage = (
        an_hour(3, used(cost_nano_usd=1_234_567_891, input_tokens=10, output_tokens=5)),
        an_hour(4, used(model="=cmd|calc", tenant="@who"), used(cost_nano_usd=1)),
    )

    answer = await stack.client.get("/export/focus?day=2026-01-31")

    assert "text/csv; charset=utf-8" == answer.headers["content-type"]
    assert "2026-01-31" == stack.router.looks[-1].day
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert ["1.234567891", "", "0.000000001"] == [row["BilledCost"] for row in rows]
    assert ("acme/small", "15", "2026-01-31T03:00:00Z", "2026-01-31T04:00:00Z") == tuple(
        rows[0][c] for c in ("SkuId", "ConsumedQuantity", "ChargePeriodStart", "ChargePeriodEnd")
    )
    assert ("'=cmd|calc", "'@who") == (rows[1]["SkuId"], rows[1]["SubAccountId"])
    assert '"pricing": "unpriced"' in rows[1]["Tags"]


async def test_a_day_is_exported_as_parquet(stack):
    stack.router.usage = (an_hour(3, used(cost_nano_usd=1_234_567_891)), an_hour(4, used()))

    answer = await stack.client.get("/export/focus?day=2026-01-31&format=parquet")

    assert "application/vnd.apache.parquet" == answer.headers["content-type"]
    assert 'filename="focus-2026-01-31.parquet"' in answer.headers["content-disposition"]
    table = pq.read_table(io.BytesIO(answer.content))
    assert [Decimal("1.234567891"), None] == table["BilledCost"].to_pylist()


async def test_a_day_without_usage_has_columns_only(stack):
    stack.router.usage = ()

    answer = await stack.client.get("/export/focus?day=2026-01-31")

    assert (200, 1) == (answer.status_code, len(answer.text.splitlines()))


@pytest.mark.parametrize(
    ("failure", "status"), [(NotFound("not that day"), 404), (Unavailable("silent"), 503)]
)
async def test_what_fails_before_the_first_line_is_a_plain_failure(stack, failure, status):
    stack.router.usage = (failure,)

    answer = await stack.client.get("/export/focus?day=2026-01-31")

    assert status == answer.status_code
    assert {"detail", "code"} == answer.json().keys()


@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_an_export_that_breaks_off_does_not_look_whole(stack, form):
    stack.router.usage = (an_hour(3, used()), Unavailable("silent"))

    with pytest.raises(Exception, match=r"incomplete|disconnected|closed|peer"):
        await stack.client.get(f"/export/focus?day=2026-01-31&format={form}")
