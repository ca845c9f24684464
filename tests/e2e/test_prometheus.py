"""The real Prometheus beside the containers: it sees everyone, knows its rules, and alarms."""

import time

import pytest
import yaml

from tests.e2e.books import closed_books
from tests.e2e.compose import ROOT
from tests.e2e.stack import SERVICES, until
from tests.e2e.traffic import Traffic

FOLDER = ROOT / "deploy" / "prometheus"
SCRAPED_S = 60  # names are looked up every 5 s, and scraped every 5 s
ALARMED_S = 180  # a minute to be sure, and what it takes to notice

pytestmark = [
    pytest.mark.compose,
    pytest.mark.parametrize("stack", ["compose"], indirect=True),
]


async def asked(stack, path, **parameters):
    async with stack.session.get(f"{stack.prometheus_url}/api/v1/{path}", params=parameters) as got:
        told = await got.json()
    assert "success" == told["status"], told
    return told["data"]


async def value(stack, query):
    """Return the only value of a query; None if it has none yet, or a scrape was missed."""
    result = (await asked(stack, "query", query=query))["result"]
    return float(result[0]["value"][1]) if result else None


def rules():
    for path in sorted(FOLDER.glob("*.yml")):
        for group in (yaml.safe_load(path.read_text()) or {}).get("groups", ()):
            yield from group["rules"]


async def test_every_replica_is_scraped(stack):
    async def all_up():
        targets = (await asked(stack, "targets", state="active"))["activeTargets"]
        seen = {(t["labels"]["job"], t["labels"].get("service")): t["health"] for t in targets}
        wanted = {("services", service) for service in SERVICES} | {("prometheus", None)}
        return wanted == set(seen) and {"up"} == set(seen.values())

    await until(all_up, within_s=SCRAPED_S, step_s=1)


async def test_every_rule_is_loaded_and_can_be_evaluated(stack):
    expected = {rule.get("alert") or rule["record"] for rule in rules()}

    async def all_well():
        loaded = [r for g in (await asked(stack, "rules"))["groups"] for r in g["rules"]]
        assert expected == {rule["name"] for rule in loaded}
        assert [] == [(r["name"], r["lastError"]) for r in loaded if r["health"] == "err"]
        return {"ok"} == {rule["health"] for rule in loaded}

    await until(all_well, within_s=SCRAPED_S, step_s=1)
    for rule in rules():
        await asked(stack, "query", query=rule["expr"])


async def test_the_rules_pass_their_own_tests(stack):
    tests = [f"/etc/prometheus/tests/{path.name}" for path in sorted(FOLDER.glob("tests/*.yml"))]

    told = await stack.promtool("test", "rules", *tests)

    assert len(tests) == told.count("SUCCESS")


async def test_prometheus_counts_what_the_ledger_holds(stack, since):
    paid = "sum(optimizer_cost_usd_total)"
    answered = 'sum(optimizer_requests_total{route="/v1/chat/completions", outcome="ok"})'
    began = time.time()
    before = {}

    async def scraped():
        newest = await value(stack, "min(timestamp(optimizer_cost_usd_total))") or 0
        before.update({query: await value(stack, query) for query in (paid, answered)})
        return newest > began and before[paid] is not None

    await until(scraped, within_s=SCRAPED_S, step_s=1)

    tally = await Traffic(stack, seed=31).send(100)
    await closed_books(stack, since)  # what still waits in a journal is paid for, too

    rows = await stack.sql(
        "SELECT sum(cost_nano_usd) FROM router.ledger WHERE kind IN (2, 3) AND request_id >= $1",
        since,
    )
    expected_usd = round(float(rows[0][0]) / 1e9, 9)

    async def equal():
        now = await value(stack, paid)
        return now is not None and expected_usd == round(now - before[paid], 9)

    async def more_answered():
        return (await value(stack, answered) or 0) > (before[answered] or 0)

    assert [] == tally.odd
    assert expected_usd > 0
    await until(equal, within_s=SCRAPED_S, step_s=1)
    await until(more_answered, within_s=SCRAPED_S, step_s=1)


async def test_a_service_that_is_gone_raises_an_alarm_that_ends_when_it_is_back(stack):
    async def alarmed():
        alerts = (await asked(stack, "alerts"))["alerts"]
        return any(
            "ServiceDown" == alert["labels"]["alertname"]
            and "experiments" == alert["labels"]["service"]
            and "firing" == alert["state"]
            for alert in alerts
        )

    async def calm():
        return not await alarmed()

    async with stack.without("experiments"):
        await until(alarmed, within_s=ALARMED_S, step_s=2)

    await until(calm, within_s=ALARMED_S, step_s=2)
