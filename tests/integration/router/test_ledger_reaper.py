"""What nobody settles is settled: once, at the expected cost, flagged; the truth still counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.router.domain.entries import Kind
from services.router.store.reaper import Reaper
from tests.ledger_builders import Follower, a_ledger, a_ledger_database, a_row, an_opened


@pytest.fixture
async def pool(database):
    async with a_ledger_database(database.url("router")) as pool:
        yield pool


@pytest.fixture
async def ledger(pool, tmp_path):
    async with a_ledger(pool, tmp_path) as ledger:
        yield ledger


@pytest.fixture
def reaper(pool):
    return Reaper(pool, grace_s=0)


async def _rows(pool, kind):
    return [r for r in await Follower(pool).catch_up() if r.kind == kind]


async def test_an_abandoned_request_is_settled_and_closed_once(pool, ledger, reaper):
    opened = an_opened(cost_nano_usd=1234, arm="test", experiment_id=5)
    await ledger.append([opened])

    added = [await reaper.make_round() for _ in range(3)]

    (settled,) = await _rows(pool, Kind.SETTLED)
    (closed,) = await _rows(pool, Kind.CLOSED)
    assert [2, 0, 0] == added
    assert ("unknown", 1234, True) == (settled.outcome, settled.cost_nano_usd, settled.estimated)
    assert ("unknown", 1234, "test", 5) == (
        closed.outcome,
        closed.cost_nano_usd,
        closed.arm,
        closed.experiment_id,
    )


async def test_a_request_whose_attempts_are_settled_is_closed_with_their_sum(pool, ledger, reaper):
    first = an_opened()
    second = an_opened(request_id=first.request_id)
    both = [
        replace(row, kind=Kind.SETTLED, outcome="ok", cost_nano_usd=cost)
        for row, cost in ((first, 3), (second, 4))
    ]
    await ledger.append([first])
    await reaper.make_round(now=datetime.now(UTC) - timedelta(hours=1))  # sees the first alone
    await ledger.append([both[0], second])
    await ledger.append([both[1]])

    await reaper.make_round()

    (closed,) = await _rows(pool, Kind.CLOSED)
    assert (7, str(first.request_id)) == (closed.cost_nano_usd, closed.attempt_id)


async def test_what_still_has_time_is_left_alone(pool, ledger, reaper):
    await ledger.append([an_opened(deadline_at=datetime.now(UTC) + timedelta(minutes=1))])

    assert 0 == await reaper.make_round()
    assert 1 == await pool.fetchval("SELECT count(*) FROM router.ledger_unfinished")


async def test_what_finished_by_itself_is_forgotten(pool, ledger, reaper):
    opened = an_opened(deadline_at=datetime.now(UTC) + timedelta(minutes=1))
    await ledger.append([opened])
    await reaper.make_round()
    settled = replace(opened, kind=Kind.SETTLED, outcome="ok")

    await ledger.append([settled, a_row(attempt_id=opened.request_id)])

    assert 0 == await reaper.make_round(now=datetime.now(UTC) + timedelta(hours=1))
    assert 0 == await pool.fetchval("SELECT count(*) FROM router.ledger_unfinished")


async def test_the_late_truth_corrects_the_guess(pool, ledger, reaper):
    opened = an_opened(cost_nano_usd=1000)
    await ledger.append([opened])
    await reaper.make_round()

    truth = replace(opened, kind=Kind.SETTLED, outcome="ok", cost_nano_usd=1500)
    await ledger.append([truth, a_row(attempt_id=opened.request_id, cost_nano_usd=1500)])

    owed = [
        r.cost_nano_usd
        for r in await Follower(pool).catch_up()
        if r.kind in (Kind.SETTLED, Kind.CORRECTED)
    ]
    assert [1000, 500] == owed


async def test_it_does_not_guess_while_the_truth_may_be_in_the_journal(pool, ledger):
    await ledger.append([an_opened()])

    assert 0 == await Reaper(pool, grace_s=0, may_guess=lambda: False).make_round()


async def test_reapers_take_turns(pool, ledger, reaper):
    await ledger.append([an_opened() for _ in range(50)])
    async with pool.acquire() as other, other.transaction():
        await other.execute(
            "SELECT pg_advisory_xact_lock(hashtext('router.ledger'), hashtext('reaper'))"
        )
        assert 0 == await reaper.make_round()

    assert 100 == await reaper.make_round()
