"""The ledger's writing side: durable when it says so, each row once, a bad row alone fails."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from common.errors import Invalid, NotFound
from common.ids import first_id_at, new_id
from services.router.domain.catalog import Price
from services.router.domain.decision import Candidate, Decision
from services.router.domain.entries import Kind
from services.router.domain.request import Usage
from services.router.store.ledger_table import RowRefusedError
from tests.ledger_builders import Follower, a_ledger, a_ledger_database, a_row, an_opened, keys
from tests.router_builders import a_model, an_ask

SMALL = a_model("acme/small", usd=1)
LARGE = a_model("acme/large", usd=10)
DECISION = Decision(
    "complexity", "high", (Candidate(SMALL, 5_000, 0.8),), {"reasoning": "short prompt"}
)


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


@pytest.fixture
async def ledger(pool, tmp_path):
    async with a_ledger(pool, tmp_path) as ledger:
        yield ledger


async def test_a_row_is_there_when_append_returns(ledger, pool):
    row = a_row(user_id="u", cost_nano_usd=7, details={"a": [1]})

    await ledger.append([row])

    (found,) = await Follower(pool).pull()
    assert (str(row.attempt_id), "u", 7, b'{"a":[1]}') == (
        found.attempt_id,
        found.user_id,
        found.cost_nano_usd,
        found.details_json,
    )


async def test_unpriced_stays_different_from_free(ledger, pool):
    await ledger.append([a_row(cost_nano_usd=None), a_row(cost_nano_usd=0)])

    unpriced, free = await Follower(pool).pull()
    assert (False, True) == (unpriced.HasField("cost_nano_usd"), free.HasField("cost_nano_usd"))


async def test_appending_a_row_again_changes_nothing(ledger, pool):
    row = a_row(cost_nano_usd=1)

    await ledger.append([row])
    await ledger.append([replace(row, cost_nano_usd=2)])

    assert [1] == [r.cost_nano_usd for r in await Follower(pool).pull()]


async def test_concurrent_appends_share_commits(ledger, pool):
    rows = [a_row() for _ in range(200)]

    await asyncio.gather(*(ledger.append([row]) for row in rows))

    commits = await pool.fetchval("SELECT count(DISTINCT xact_id) FROM router.ledger")
    assert sorted(keys(rows)) == sorted((await _all(pool)).seen)
    assert commits <= 3  # the first at once, the others together


async def test_whoever_publishes_hears_of_each_commit(pool, tmp_path):
    heard = []
    async with a_ledger(pool, tmp_path, on_grown=lambda: heard.append(1)) as ledger:
        await ledger.append([a_row(), a_row()])
        assert [1] == heard


async def test_a_caller_that_is_cancelled_loses_nothing(ledger, pool):
    row = a_row()
    appending = asyncio.create_task(ledger.append([row]))
    await asyncio.sleep(0)
    appending.cancel()

    await ledger.append([a_row()])

    assert keys([row])[0] in (await _all(pool)).seen


async def test_a_wrong_row_fails_alone(ledger, pool):
    good, bad = [a_row() for _ in range(3)], a_row(experiment_id=2**63)

    results = await asyncio.gather(
        *(ledger.append([row]) for row in [*good, bad]), return_exceptions=True
    )

    assert [None, None, None] == results[:3]
    assert isinstance(results[3], RowRefusedError)
    assert sorted(keys(good)) == sorted((await _all(pool)).seen)


@pytest.mark.parametrize(
    "text", ["a\0b", "\ud800 alone", "\N{PILE OF POO}", "back\\u0000slash", '"quoted"'], ids=ascii
)
async def test_any_text_can_be_recorded(ledger, pool, text):
    await ledger.append([a_row(user_id=text, details={text: [text, 2**70, float("nan"), {1: 2}]})])

    assert 1 == len(await Follower(pool).pull())


async def test_a_row_of_a_day_without_partition_makes_it(ledger, pool):
    row = a_row(attempt_id=first_id_at(datetime.now(UTC) - timedelta(days=40)))

    await ledger.append([row])

    assert keys([row]) == (await _all(pool)).seen


async def test_an_identifier_without_a_day_is_refused(ledger):
    with pytest.raises(RowRefusedError, match=r"bounds|no time"):
        await ledger.append([a_row(attempt_id=UUID(int=2**128 - 1))])


@pytest.mark.parametrize(
    "statement", ["UPDATE router.ledger SET tenant = ''", "DELETE FROM router.ledger"]
)
async def test_nothing_changes_a_row(ledger, pool, statement):
    await ledger.append([a_row()])

    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await pool.execute(statement)


# The way of one request.


async def test_a_request_leaves_opened_settled_closed(ledger, pool):
    async with ledger.request(an_ask(), deadline_s=60, baseline=LARGE.price) as entry:
        attempt = await entry.open(DECISION.chosen, DECISION)
        entry.settle(attempt, outcome="ok", usage=Usage(1000, 500), response_id="r1", latency_ms=12)
        closed = await entry.close(decision=DECISION)

    rows = await Follower(pool).catch_up()
    assert [Kind.OPENED, Kind.SETTLED, Kind.CLOSED] == [r.kind for r in rows]
    assert [5_000, 3_000_000, 3_000_000] == [
        r.cost_nano_usd for r in rows
    ]  # 1000 x 1 + 500 x 4 $/M
    assert (3_000_000, 30_000_000) == (closed.cost_nano_usd, closed.baseline_cost_nano_usd)
    assert b'{"reasoning":"short prompt"}' == rows[2].details_json
    assert {rows[0].request_id, rows[2].attempt_id} == {r.request_id for r in rows}
    assert "r1" == rows[1].provider_response_id


async def test_a_fallback_costs_what_both_attempts_cost(ledger, pool):
    async with ledger.request(an_ask(), deadline_s=60) as entry:
        first = await entry.open(DECISION.chosen, DECISION)
        entry.settle(first, outcome="truncated", usage=Usage(1000, 10), error="cut")
        second = await entry.open(Candidate(LARGE, 1, 0.9), DECISION)
        entry.settle(second, outcome="ok", usage=Usage(1000, 100))
        closed = await entry.close(decision=DECISION)

    rows = await Follower(pool).catch_up()
    settled = [r.cost_nano_usd for r in rows if r.kind == Kind.SETTLED]
    assert [1_040_000, 14_000_000] == settled
    assert sum(settled) == closed.cost_nano_usd


async def test_the_model_that_answered_sets_the_price(ledger):
    async with ledger.request(an_ask(), deadline_s=60) as entry:
        attempt = await entry.open(DECISION.chosen, DECISION)
        entry.settle(attempt, outcome="ok", usage=Usage(1000, 0), answered=LARGE)
        closed = await entry.close(decision=DECISION)

    assert 10_000_000 == closed.cost_nano_usd


async def test_one_unpriced_attempt_makes_the_request_unpriced(ledger):
    async with ledger.request(an_ask(), deadline_s=60) as entry:
        for model in (SMALL, a_model("acme/odd", usd=None)):
            attempt = await entry.open(Candidate(model, None, 0.5), DECISION)
            entry.settle(attempt, outcome="ok", usage=Usage(10, 10))
        closed = await entry.close(decision=DECISION)

    assert (None, "unpriced") == (closed.cost_nano_usd, closed.pricing)


@pytest.mark.parametrize("outcome", ["failed", "truncated"])
async def test_what_was_paid_for_no_answer_is_a_loss(ledger, pool, outcome):
    async with ledger.request(an_ask(), deadline_s=60, baseline=LARGE.price) as entry:
        attempt = await entry.open(DECISION.chosen, DECISION)
        entry.settle(attempt, outcome="unknown", usage=Usage(1000, 0))
        closed = await entry.close(outcome=outcome, decision=DECISION)

    assert (1_000_000, 0) == (closed.cost_nano_usd, closed.baseline_cost_nano_usd)


async def test_a_hit_costs_nothing_and_saves_what_the_baseline_would_have_cost(ledger):
    price = Price(2_000_000_000, 0, 0, 1)
    async with ledger.request(an_ask(), deadline_s=60, baseline=price) as entry:
        closed = await entry.close(cache_hit=True, usage=Usage(1000, 0))

    assert (0, "cached", 2_000_000) == (
        closed.cost_nano_usd,
        closed.pricing,
        closed.baseline_cost_nano_usd,
    )


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError("a bug"), "failed"), (asyncio.CancelledError(), "cancelled")],
    ids=["failed", "cancelled"],
)
async def test_leaving_early_closes_the_request_and_owes_what_was_expected(
    ledger, pool, error, outcome
):
    with pytest.raises(type(error)):  # noqa: PT012 - leaving the block is what is tested
        async with ledger.request(an_ask(), deadline_s=60) as entry:
            await entry.open(DECISION.chosen, DECISION)
            raise error

    _, settled, closed = await Follower(pool).catch_up()
    assert ("unknown", 5_000, True) == (settled.outcome, settled.cost_nano_usd, settled.estimated)
    assert (outcome, 5_000) == (closed.outcome, closed.cost_nano_usd)


@pytest.mark.parametrize("request_id", [uuid4(), first_id_at(datetime(2025, 1, 1, tzinfo=UTC))])
async def test_a_request_id_that_was_not_made_just_now_is_refused(ledger, request_id):
    with pytest.raises(Invalid, match="UUIDv7"):
        ledger.request(replace(an_ask(), request_id=request_id), deadline_s=60)


# Guesses, and the truth that comes later.


async def test_the_truth_after_a_guess_is_added_as_a_difference(ledger, pool):
    opened = an_opened()
    guessed = replace(opened, kind=Kind.SETTLED, outcome="unknown", estimated=True)
    truth = replace(opened, kind=Kind.SETTLED, outcome="ok", cost_nano_usd=1300, input_tokens=9)
    await ledger.append([opened, guessed])

    await ledger.append([truth])
    await ledger.append([truth])

    corrected = [r for r in await Follower(pool).catch_up() if r.kind == Kind.CORRECTED]
    assert [("ok", 300, 9)] == [(r.outcome, r.cost_nano_usd, r.input_tokens) for r in corrected]


async def test_what_was_settled_in_truth_is_never_corrected(ledger, pool):
    settled = a_row(Kind.SETTLED, outcome="ok", cost_nano_usd=1)

    await ledger.append([settled])
    await ledger.append([replace(settled, cost_nano_usd=2)])

    assert [Kind.SETTLED] == [r.kind for r in await Follower(pool).catch_up()]


# Feedback.


async def test_feedback_is_numbered_even_when_everyone_rates_at_once(ledger, pool):
    closed = a_row(arm="test", user_id="u")
    await ledger.append([closed])

    revisions = await asyncio.gather(
        *(ledger.record_feedback(closed.request_id, "a-key", {"score": n}) for n in range(6))
    )

    feedback = [r for r in await Follower(pool).catch_up() if r.kind == Kind.FEEDBACK]
    assert [1, 2, 3, 4, 5, 6] == sorted(revisions)
    assert {("test", "u")} == {(r.arm, r.user_id) for r in feedback}


@pytest.mark.parametrize("tenant", ["a-key", "another"])
async def test_feedback_on_what_is_not_there_or_not_yours_is_refused(ledger, tenant):
    closed = a_row()
    await ledger.append([closed])

    with pytest.raises(NotFound):
        await ledger.record_feedback(
            new_id() if tenant == "a-key" else closed.request_id, tenant, {}
        )


async def _all(pool):
    follower = Follower(pool)
    await follower.catch_up()
    return follower
