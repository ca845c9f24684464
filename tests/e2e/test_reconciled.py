"""
Whatever happens, every figure that is shown anywhere is the ledger's, added up by hand.

Two routers serve a random mix of retries, cached repeats, broken streams, hang-ups and late
feedback, while rows of other routers arrive: old ones, and truths that come late. In the midst
Redis is flushed and the metrics service killed.

Of 10,000 requests 480 are sent and the others written. To send 10,000 (two minutes):
RECONCILE_REQUESTS=10000 pytest --timeout=900 tests/e2e/test_reconciled.py
"""

import asyncio
import csv
import io
import os
import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from playwright.async_api import expect

from common.ids import first_id_at
from services.router.settings import SHIPPED_CATALOG
from tests.e2e import reckoning
from tests.e2e.browser import a_browser, a_page, exact, in_usd
from tests.e2e.embedded import EmbeddedStack
from tests.e2e.figures import counter, nano, told_in
from tests.e2e.mixture import COLUMNS, UNPRICED, WRITTEN, Mixture, Written
from tests.e2e.stack import until
from tests.e2e.traffic import PATIENCE_S

SERVED = int(os.environ.get("RECONCILE_REQUESTS", "480"))
HUNG_UP = 60
BATCHES, BATCH = 8, 1190  # of written requests
RATED = 100
CAUGHT_UP_S = 45  # /routing/metrics is cached for up to 30 s
WINDOWS = {
    "1h": (3600, 60),
    "24h": (86_400, 900),
    "7d": (7 * 86_400, 3600),
    "30d": (30 * 86_400, 21_600),
}
BY = (None, "model", "provider", "strategy", "key", "arm")
ROUTES = ("/complete", "/v1/chat/completions")
pytestmark = pytest.mark.timeout(300)  # all the traffic counts as part of the first test
TILES = {"spend": "cost", "saved": "saved", "errors": "failures", "cache": "cache_hits"}

SHIPPED_PATIENCE, PATIENCE = "first_token: 15, idle: 15, total", "first_token: 1, idle: 1, total"
WITHOUT_PRICE = f"""
models:
  - name: {UNPRICED}
    provider: sandbox
    upstream: large
    tier: complex
    capability: 0.5
    context_tokens: 8192
    capabilities: [streaming]
"""
EXPERIMENT = {
    "name": "is cheap good enough?",
    "control_strategy": "best",
    "test_strategy": "cheapest",
    "sample_size": 1_000_000,
}
UNFINISHED = """
    SELECT count(*) FROM router.ledger AS opened WHERE opened.kind = 1 AND (
        NOT EXISTS (SELECT FROM router.ledger AS settled
                     WHERE settled.attempt_id = opened.attempt_id AND settled.kind = 2)
     OR NOT EXISTS (SELECT FROM router.ledger AS closed
                     WHERE closed.attempt_id = opened.request_id AND closed.kind = 4))
"""


@pytest.fixture(scope="module")
async def mixed(tmp_path_factory):
    """A stack in which everything has happened and nothing happens any more, and its ledger."""
    shipped = SHIPPED_CATALOG.read_text().replace(SHIPPED_PATIENCE, PATIENCE)
    catalog = tmp_path_factory.mktemp("reconciled") / "catalog.yaml"
    catalog.write_text(shipped.replace("\nmodels:\n", WITHOUT_PRICE, 1))
    settings = {"ROUTER_CATALOG_PATH": str(catalog), "SANDBOX_LATENCY_SCALE": "0.02"}
    async with EmbeddedStack(routers=2, **settings) as stack:
        id_ = (await stack.post("/experiments", EXPERIMENT)).json["id"]
        traffic = Mixture(stack, seed=7, experiment_id=id_)
        await asyncio.gather(traffic.send(SERVED, clients=24), happen(stack, traffic))
        counted = told_in(await stack.metrics_of("gateway"))
        before = first_id_at(datetime.now(UTC))
        leaving = Mixture(stack, seed=8, experiment_id=id_, hang_up_ratio=0.7)
        await stack.sandbox("POST", "/faults", {"fault": f"first_token_s={PATIENCE_S}"})
        await leaving.send(HUNG_UP, clients=24)
        requests = await all_ended(stack)
        with suppress(TimeoutError):  # then the tests say what is not told
            await until(lambda: is_told(stack, requests), within_s=CAUGHT_UP_S)
        yield SimpleNamespace(
            stack=stack,
            tally=traffic.tally,
            hung_up=leaving.tally,
            counted=counted,  # by the gateway, before clients hung up
            requests=requests,
            ours=[one for one in requests if one.tenant != WRITTEN],
            before=before,  # anyone hung up
        )


async def happen(stack, traffic):
    """Write the others' rows, batch by batch beside the traffic; flush, kill and rate midway."""
    [[epoch]] = await stack.sql("SELECT max(epoch) FROM router.ledger_epochs")
    now = datetime.now(UTC)
    written = Written(seed=11, epoch=epoch, began=now - timedelta(minutes=10), now=now)
    for number in range(BATCHES + 1):  # the last one has late rows only

        async def far_enough(number=number):
            return traffic.tally.total >= SERVED * number // (BATCHES + 1)

        await until(far_enough, within_s=600, step_s=0.02)
        await stack.write_ledger(COLUMNS, written.batch(BATCH if number < BATCHES else 0))
        if number == BATCHES // 2:
            await stack.flush_redis()
            await stack.kill("metrics")
            await rate(stack)


async def rate(stack):
    """Rate requests that ended a while ago, some of them twice."""
    rows = await stack.sql(
        "SELECT attempt_id FROM router.ledger WHERE kind = 4 AND tenant <> $1 LIMIT $2",
        WRITTEN,
        RATED,
    )
    dice = random.Random(3)
    for row in rows:
        for score in dice.choices(range(1, 6), k=dice.choice((1, 2))):
            given = {"quality_score": score, "is_correct": score > 2}
            await stack.post(
                "/production/feedback", {"request_id": str(row["attempt_id"]), **given}
            )


async def all_ended(stack):
    async def quiet():
        busy = (await stack.sandbox("GET", "/bill?limit=1"))["in_flight"]
        return not busy and not (await stack.sql(UNFINISHED))[0][0]

    await until(quiet, within_s=60)
    await stack.ready("metrics")
    return reckoning.ended(await stack.sql(reckoning.READ))


async def is_told(stack, requests):
    stats, shown = [(await stack.get(path)).json for path in ("/stats", "/routing/metrics")]
    period = reckoning.snapshot_period(requests, shown["timestamp"])
    return (
        reckoning.stats(requests).items() <= stats.items()
        and reckoning.snapshot(period).items() <= shown.items()
    )


async def test_all_that_was_meant_to_happen_has(mixed):
    kinds = dict(
        await mixed.stack.sql(
            "SELECT kind, count(*) FROM router.ledger WHERE tenant <> $1 GROUP BY kind", WRITTEN
        )
    )
    tallies = (mixed.tally, mixed.hung_up)

    assert ([], []) == tuple(tally.odd for tally in tallies)
    assert (SERVED, 0) == (mixed.tally.total, mixed.tally.hung_up)
    assert mixed.hung_up.hung_up > HUNG_UP // 4
    assert mixed.tally.broken["error event"] > 0
    assert {"ok", "failed", "truncated", "cancelled"} == {one.outcome for one in mixed.ours}
    assert kinds[5] > RATED
    assert any(one.cost is None for one in mixed.ours)
    assert any(one.cache_hit for one in mixed.ours)
    assert any(one.fallbacks and one.outcome == "ok" for one in mixed.ours)
    assert {"control", "test"} <= {one.arm for one in mixed.ours}
    assert any(one.cost != one.cost_then for one in mixed.requests)
    assert len(mixed.requests) >= SERVED + BATCHES * BATCH >= 10_000


async def test_the_snapshot_is_the_ledger_s(mixed):
    shown = (await mixed.stack.get("/routing/metrics")).json

    timestamp = shown.pop("timestamp")
    of = reckoning.snapshot_period(mixed.requests, timestamp)
    latency, first_token = shown.pop("latency_ms"), shown.pop("time_to_first_token_ms")
    spent = reckoning.spent(mixed.requests, timestamp)
    lately = shown.pop("last_minute")
    assert_lately(mixed, lately, timestamp, timestamp)
    recent = of_since(mixed, datetime.fromisoformat(lately["since"]))
    active = sorted({one.experiment_id for one in recent if one.experiment_id})
    assert active == shown.pop("active_experiments")
    assert {**reckoning.snapshot(of), "spent": spent} == shown
    assert [] == reckoning.unlike(of, by_percent(latency))
    assert [] == reckoning.unlike(of, by_percent(first_token), measure="first_token_ms")


def by_percent(told):
    return {percent: told[f"p{percent}"] for percent in (50, 95, 99)}


async def test_watchers_are_sent_the_same_snapshot(mixed):
    async with mixed.stack.session.ws_connect(f"{mixed.stack.base_url}/metrics/live") as socket:
        pushed = await socket.receive_json(timeout=5)

    shown = (await mixed.stack.get("/routing/metrics")).json
    passing = dict.fromkeys(("active_experiments", "last_minute", "timestamp"))
    assert {**shown, **passing} == {**pushed, **passing}


async def test_the_stats_are_the_ledger_s(mixed):
    before = datetime.now(UTC)
    shown = (await mixed.stack.get("/stats")).json
    after = datetime.now(UTC)

    lately = shown.pop("last_minute")
    midnight = before.replace(hour=0, minute=0, second=0, microsecond=0)
    parts = {"today": midnight, "this_month": midnight.replace(day=1)}
    expected = {name: reckoning.stats(of_since(mixed, moment)) for name, moment in parts.items()}
    assert reckoning.stats(mixed.requests) | expected == shown
    assert_lately(mixed, lately, before.isoformat(), after.isoformat())


def assert_lately(mixed, lately, earliest, latest):
    """Compare the rates of the last minute, told at some time from *earliest* to *latest*."""
    since = datetime.fromisoformat(lately["since"])
    of = of_since(mixed, since)
    found = reckoning.sums(of)
    rates = [reckoning.ratio(some, len(of)) for some in (found.failures, found.cache_hits)]
    assert rates == [lately["error_rate"], lately["cache_hit_rate"]]
    least, most = (
        len(of) / (datetime.fromisoformat(at) - since).total_seconds() for at in (latest, earliest)
    )
    assert least <= lately["requests_per_s"] * (1 + 1e-4)  # told to the millisecond
    assert lately["requests_per_s"] <= most
    assert [] == reckoning.unlike(of, {95: lately["p95_ms"]})


def of_since(mixed, moment):
    return reckoning.since(mixed.requests, moment)


@pytest.mark.parametrize("window", WINDOWS)
async def test_history_is_the_ledger_s(mixed, window):
    window_s, step_s = WINDOWS[window]
    for by in BY:
        asked = f"/metrics/history?window={window}" + (f"&by={by}" if by else "")
        shown = (await mixed.stack.get(asked)).json

        times = [datetime.fromisoformat(time) for time in shown["times"]]
        expected = reckoning.series(of_since(mixed, times[0]), by)
        assert (step_s, window_s // step_s + 1) == (shown["step_s"], len(times))
        assert list(expected) == [line["name"] for line in shown["series"]]
        for line in shown["series"]:
            of = reckoning.by_step(expected[line["name"]], times, timedelta(seconds=step_s))
            assert [] == reckoning.wrong_steps(line, of)


async def test_windows_that_overlap_agree(mixed):
    """An hour is told alike, whichever window it is in."""
    told = []
    for window in ("24h", "7d", "30d"):
        shown = (await mixed.stack.get(f"/metrics/history?window={window}&step=3600")).json
        [line] = shown["series"]
        columns = zip(*(line[name] for name in line if name != "name"), strict=True)
        told.append(dict(zip(shown["times"], columns, strict=True)))

    day, week, month = told
    assert (25, 7 * 24 + 1, 30 * 24 + 1) == (len(day), len(week), len(month))
    assert day.items() <= week.items() <= month.items()


async def test_every_request_is_listed_as_it_ended(mixed):
    shown, path = [], "/requests?limit=500"
    while path:
        page = (await mixed.stack.get(path)).json
        shown += page["requests"]
        path = page["next"] and f"/requests?limit=500&before={page['next']}"

    assert len(mixed.requests) == len(shown)
    for expected, found in zip(mixed.requests, shown, strict=True):
        assert reckoning.listed(expected) == found


@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_the_export_sums_to_the_ledger(mixed, form):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for day in (today - timedelta(days=1), today):
        body = (await mixed.stack.get(f"/export/focus?day={day:%Y-%m-%d}&format={form}")).body
        rows = (
            pq.read_table(io.BytesIO(body)).to_pylist()
            if form == "parquet"
            else list(csv.DictReader(io.StringIO(body.decode())))
        )
        bounds = first_id_at(day), first_id_at(day + timedelta(days=1))
        [expected] = await mixed.stack.sql(reckoning.A_DAY, *bounds)

        assert tuple(expected) == (
            sum(Decimal(row["BilledCost"] or 0) for row in rows) * 10**9,
            sum(int(row["ConsumedQuantity"]) for row in rows),
            sum(int(row["ChargeDescription"].split()[0]) for row in rows),
        )


async def test_prometheus_is_told_what_attempts_cost(mixed):
    told = told_in(*await mixed.stack.router_metrics())
    settled = await mixed.stack.sql(reckoning.SETTLED, WRITTEN)

    costs = counter(told, "optimizer_cost_usd_total", "model", "provider")
    assert {(row["model"], row["provider"]): row["cost"] for row in settled if row["cost"]} == nano(
        costs
    )
    assert {(row["model"],): row["unpriced"] for row in settled if row["unpriced"]} == counter(
        told, "optimizer_unpriced_attempts_total", "model"
    )
    assert {
        (row["model"], way): row[way]
        for row in settled
        for way in ("input", "cached_input", "output")
        if row[way]
    } == counter(told, "optimizer_tokens_total", "model", "direction")


async def test_prometheus_is_told_what_was_saved(mixed):
    told = told_in(*await mixed.stack.router_metrics())
    compared = [one for one in mixed.ours if None not in (one.cost_then, one.baseline)]
    saved, lost = Counter(), 0
    for one in compared:
        less = one.baseline - one.cost_then
        saved[("cache" if one.cache_hit else "routing",)] += max(less, 0)
        lost += max(-less, 0)

    hits = counter(told, "optimizer_cache_requests_total", "result")
    assert saved == nano(counter(told, "optimizer_saved_usd_total", "by"))
    assert lost == nano(counter(told, "optimizer_lost_usd_total")).get((), 0)
    baseline = nano(counter(told, "optimizer_baseline_usd_total"))
    assert {(): sum(one.baseline for one in compared)} == baseline
    assert sum(one.cache_hit for one in mixed.ours) == hits[("hit",)] + hits[("shared",)]
    assert len(mixed.ours) == hits.total()


async def test_prometheus_is_told_how_requests_ended(mixed):
    """A client that hangs up may do so before or after its answer: only the others are exact."""
    labels = ("route", "model", "provider", "outcome")
    told = Counter()
    for (route, *rest), n in counter(mixed.counted, "optimizer_requests_total", *labels).items():
        if route in ROUTES:
            told[tuple(rest)] += n
    stayed = [one for one in mixed.ours if one.id < mixed.before]

    assert Counter((one.model, one.provider) for one in stayed if one.outcome == "ok") == Counter(
        {(model, provider): n for (model, provider, outcome), n in told.items() if outcome == "ok"}
    )
    failed = sum(n for (_, _, outcome), n in told.items() if outcome.endswith("_error"))
    assert sum(one.outcome != "ok" for one in stayed) == failed
    assert len(stayed) == told.total() == SERVED


async def test_the_page_shows_what_the_api_says(mixed):
    stack = mixed.stack
    async with a_browser() as browser, a_page(browser, stack) as page:
        await expect(page.locator("#p95 data")).to_be_visible()
        today = (await stack.get("/stats")).json["today"]
        if not today["requests"]:
            pytest.skip("it has become tomorrow since all was asked")
        shown = {tile: await exact(page, tile) for tile in TILES}
        texts = {tile: await page.locator(f"#{tile} data").inner_text() for tile in TILES}
        hints = {tile: await page.locator(f"#{tile} .hint").inner_text() for tile in TILES}
        how_saved = await page.locator("#how-saved").inner_text()
        table = page.get_by_role("group", name="Requests by strategy").locator("tbody tr")
        await expect(table.first).to_be_visible()  # reading does not wait
        rows = [
            [await row.locator("td").first.inner_text()]
            + [await cell.get_attribute("value") for cell in await row.locator("data").all()]
            for row in await table.all()
        ]

    usage = (await stack.get("/routing/metrics")).json["strategy_performance"]
    assert {tile: today[name] for tile, name in TILES.items()} == shown
    assert texts == {
        "spend": in_usd(today["cost"]),
        "saved": in_usd(today["saved"]),
        "errors": f"{100 * today['failures'] / today['requests']:.1f} %",
        "cache": f"{100 * today['cache_hits'] / today['requests']:.1f} %",
    }
    assert f"{today['requests']:,} requests" == hints["spend"]
    assert f"{today['failures']:,} failed" == hints["errors"]
    assert f"{today['unpriced']:,} unpriced requests are in neither sum" in how_saved
    assert {name: (one["count"], one["avg_cost"]) for name, one in usage.items()} == {
        name: (int(count), float(cost)) for name, count, cost in rows
    }
